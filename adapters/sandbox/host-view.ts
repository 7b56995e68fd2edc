import { lstatSync, readlinkSync, existsSync, realpathSync } from "node:fs";

export interface HostView {
  /** Folders shown read-only at the same path. */
  folders: string[];
  /** Symlinks made again as they are (`/bin` → `usr/bin`). */
  links: { path: string; target: string }[];
  /** Files and folders of /etc that programs need to find their libraries and interpreters. */
  etc: string[];
}

const system = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const etc = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"];

/** The part of this host that a sandbox shows: programs and libraries, nothing that says who or where we are. */
export function readHostView(): HostView {
  const view: HostView = { folders: [], links: [], etc: etc.filter((path) => kind(path) !== null) };
  for (const path of system) {
    if (kind(path) === "link") view.links.push({ path, target: readlinkSync(path) });
    if (kind(path) === "folder") view.folders.push(path);
  }
  return view;
}

function kind(path: string): "link" | "folder" | "file" | null {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return null;
  if (stat.isSymbolicLink()) return "link";
  return stat.isDirectory() ? "folder" : "file";
}

/** Files of /proc that tell of the whole machine or of our own keyrings; an empty device stands in their place. */
export function hiddenInProc(): string[] {
  const paths = ["/proc/keys", "/proc/key-users", "/proc/kcore", "/proc/timer_list"];
  return paths.filter((path) => kind(path) !== null);
}

/** Where things stand inside a sandbox, whichever driver built it. */
export const layout = {
  /** The working directory: empty but for the run's own files and code. */
  backend: "/sandbox",
  /** Where our own Node is put when the host keeps it outside /usr. */
  nodeFolder: "/opt/bin",
} as const;

/** All that is in a run's environment besides what its request asks for. */
export const baseEnv: Readonly<Record<string, string>> = {
  PATH: `${layout.nodeFolder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
  HOME: layout.backend,
  TMPDIR: "/tmp",
  LANG: "C.UTF-8",
  // Without it a killed run loses what Python still held back.
  PYTHONUNBUFFERED: "1",
  PYTHONDONTWRITEBYTECODE: "1",
};

/**
 * An empty place of the host's file tree to build on, in a mount namespace of our own. Nothing of the host
 * changes, but what was below is hidden while we build: so it must not hold the file we want to show.
 */
export function mountPoint(node: string | null): string {
  const places = ["/mnt", "/media", "/srv"];
  const free = (place: string) => existsSync(place) && node?.startsWith(`${place}/`) !== true;
  return places.find(free) ?? "/mnt";
}

/** The path of the Node we run on when a sandbox has to be given it; null when it is under /usr and there anyway. */
export function nodeToShow(): string | null {
  const path = realpathSync(process.execPath);
  return path.startsWith("/usr/") && path.endsWith("/bin/node") ? null : path;
}

/** One word of POSIX shell, whatever it holds. NUL can't be quoted and must not be in it. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
