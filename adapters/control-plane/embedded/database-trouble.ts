/** SQLite's primary result codes that a person can do something about. */
const fixes: Readonly<Record<number, string>> = {
  5: "is locked by another process: stop it",
  8: "can't be written: give this user the right to write it and its folder",
  10: "could not be read or written: look at the disk and the system's log",
  11: "is damaged: stop the control plane and put a backup in its place",
  13: "could not be written, for its disk is full: free some space",
  14: "could not be opened: look at its folder and the rights to it",
  26: "is not a database, or its beginning is damaged: put a backup in its place, or use another file",
};

/** What is wrong with the database, and what to do; null for an error of another kind. Nothing of the change was kept. */
export function databaseTrouble(error: unknown, path: string): string | null {
  if (!(error instanceof Error) || !("errcode" in error)) return null;
  const fix = fixes[Number(error.errcode) & 0xff];
  return fix === undefined ? null : `the database ${path} ${fix}`;
}
