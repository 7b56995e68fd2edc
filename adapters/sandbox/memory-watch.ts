import { readFile, readdir } from "node:fs/promises";
import { limits } from "./limits.ts";

const intervalMs = 100;

/**
 * Calls `exceeded` once when the processes below `pid` hold more memory together than the limit. It catches what
 * RLIMIT_DATA can't: shared mappings, and many processes each within its own limit.
 *
 * @returns stops the watch
 */
export function watchMemory(pid: number, exceeded: () => void): () => void {
  let stopped = false;
  const look = async () => {
    const bytes = await residentBytes(pid);
    if (stopped) return;
    if (bytes > limits.residentBytes) exceeded();
    else timer = setTimeout(() => void look(), intervalMs);
  };
  let timer = setTimeout(() => void look(), intervalMs);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

async function residentBytes(pid: number): Promise<number> {
  const [own, children] = await Promise.all([readResident(pid), readChildren(pid)]);
  const below = await Promise.all(children.map(residentBytes));
  return below.reduce((sum, bytes) => sum + bytes, own);
}

/** proc(5): RssAnon and RssShmem of /proc/pid/status, in kB. A process that is gone holds nothing. */
async function readResident(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const found = status.matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB$/gmu);
  return [...found].reduce((sum, match) => sum + Number(match[1]) * 1024, 0);
}

/** Every thread has its own list of children. */
async function readChildren(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const lists = await Promise.all(
    threads.map((thread) =>
      readFile(`/proc/${pid}/task/${thread}/children`, "utf8").catch(() => ""),
    ),
  );
  return lists.flatMap((list) => list.split(" ").filter(Boolean).map(Number));
}
