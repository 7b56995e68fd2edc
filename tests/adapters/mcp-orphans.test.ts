import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const support = (name: string) => fileURLToPath(new URL(`../support/${name}`, import.meta.url));
const folder = useTemporaryFolder();

/** Processes of whose command line the text is a part. */
const naming = (text: string): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, "latin1").includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);

/** Started by a shell that stays, deaf to SIGTERM, and that starts another beside it; none of them minds its input's end. */
const stubborn = (mark: string) =>
  `trap '' TERM; sleep 1000 & : ${mark}; "${process.execPath}" "${support("raw-mcp-server.ts")}" ${mark}; while :; do sleep 1; done`;

async function start(mark: string) {
  const worker = spawn(
    process.execPath,
    [support("one-tool-host.ts"), "/bin/sh", "-c", stubborn(mark)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [said] = (await once(worker.stdout, "data")) as [Buffer];
  expect(String(said)).toBe("ready\n");
  const all = naming(mark).filter((pid) => pid !== worker.pid);
  expect(all.length).toBeGreaterThan(1);
  return worker;
}

test("no server outlives a worker that is killed, whatever the server takes notice of [mcp.orphans]", async () => {
  const mark = join(folder, "killed");
  const worker = await start(mark);
  worker.kill("SIGKILL");
  await expect.poll(() => naming(mark)).toEqual([]);
});

test("a worker that closes leaves nothing, its guard included [mcp.orphans]", async () => {
  const mark = join(folder, "closed");
  const worker = await start(mark);
  const children = readFileSync(`/proc/${worker.pid}/task/${worker.pid}/children`, "utf8")
    .split(" ")
    .filter(Boolean)
    .map(Number);
  expect(children.length).toBe(2);
  worker.kill("SIGTERM");
  await once(worker, "close");
  await expect.poll(() => naming(mark)).toEqual([]);
  const isThere = (pid: number) => readdirSync("/proc").includes(String(pid));
  await expect.poll(() => children.filter(isThere)).toEqual([]);
});
