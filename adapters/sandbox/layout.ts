/** Where things stand inside a sandbox, whichever driver built it. */
export const layout = {
  /** The working directory: empty but for the run's own files and code. */
  home: "/sandbox",
  /** Where our own Node is put when the host keeps it outside /usr. */
  nodeFolder: "/opt/bin",
} as const;

/** All that is in a run's environment besides what its request asks for. */
export const baseEnv: Readonly<Record<string, string>> = {
  PATH: `${layout.nodeFolder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
  HOME: layout.home,
  TMPDIR: "/tmp",
  LANG: "C.UTF-8",
  // Without it a killed run loses what Python still held back.
  PYTHONUNBUFFERED: "1",
  PYTHONDONTWRITEBYTECODE: "1",
};
