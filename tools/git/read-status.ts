export interface StatusFile {
  path: string;
  /** Two letters: index, then working tree. */
  state: string;
  /** The path before a rename or copy. */
  from?: string;
}

/** How many fields stand before the path in each kind of record (git-status(1), porcelain format 2). */
const fieldsBeforePath: Record<string, number> = { "1": 8, "2": 9, u: 10 };

/** Reads `git status --porcelain=v2 --branch --null`. A record that was cut off is left out. */
export function readStatus(listing: string): { branch: string | null; files: StatusFile[] } {
  // Every record ends with a NUL, so what stands after the last one is not whole.
  const records = listing.split("\0").slice(0, -1);
  const files: StatusFile[] = [];
  let branch: string | null = null;
  for (let index = 0; index < records.length; index += 1) {
    const record = records[index] ?? "";
    const kind = record.slice(0, 1);
    if (record.startsWith("# branch.head ")) {
      const head = record.slice("# branch.head ".length);
      branch = head === "(detached)" ? null : head;
    } else if (kind === "?") {
      files.push({ path: record.slice(2), state: "??" });
    } else {
      const before = fieldsBeforePath[kind];
      if (before === undefined) continue;
      const fields = record.split(" ");
      const file = { path: fields.slice(before).join(" "), state: fields[1] ?? "" };
      if (kind === "2") index += 1;
      const from = records[index];
      if (kind !== "2") files.push(file);
      else if (from !== undefined) files.push({ ...file, from });
    }
  }
  return { branch, files };
}
