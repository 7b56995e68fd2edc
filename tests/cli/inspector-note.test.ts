import { spawnSync } from "node:child_process";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writeInspectorNote } from "../../cli/compose/start-inspector.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();

it("a worker that begins takes away the inspector's notes of workers that were killed, and no others [inspector.notes]", async () => {
  const dataDir = join(folder, "data");
  await mkdir(dataDir);
  const { pid: gone } = spawnSync(process.execPath, ["--version"]);
  for (const name of [`inspector-${gone}.txt`, `inspector-${process.ppid}.txt`, "inspector-x.txt"])
    await writeFile(join(dataDir, name), "http://127.0.0.1:1/#token\n");
  await writeInspectorNote(dataDir, "http://127.0.0.1:2/#token");
  const kept = [process.pid, process.ppid, "x"].map((of) => `inspector-${of}.txt`);
  expect((await readdir(dataDir)).toSorted()).toEqual(kept.toSorted());
});
