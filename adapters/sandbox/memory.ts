import { readdir, readFile, readlink, statfs } from "node:fs/promises";
import { layout } from "./host-view.ts";
import { limits } from "./program.ts";

/**
 * Between two looks, milliseconds. A look takes about 1 ms for a run of a few processes.
 */
const intervalMs = 100;

/** What the kernel may hold for one of these at its usual size (wmem_default, twice over; 16 pages), bytes. */
const largest = { socket: 425_984, pipe: 65_536 };

/**
 * What an entry of a tmpfs counts, bytes. An empty file takes about 1 KiB of the kernel; counted so, a run ends at the
 * number of files that the folders of a driver which can limit them would take.
 */
const entryBytes = limits.residentBytes / (3 * limits.folderEntries);

interface Watched {
  residentBytes: number;
  /** It has the host's folders and network: what is in them is not its own. */
  isBare: boolean;
  /** In which the kernel may have ended a process already. */
  group: { ranOut(): boolean } | null;
}

/**
 * Calls `exceeded` once when the processes below `pid` hold more memory together than the limit. It catches what
 * RLIMIT_DATA can't: shared mappings, page tables, many processes each within its own limit; and what no process maps:
 * full pipes and socket buffers, which are counted at the most that they can hold, and the entries of the writable
 * folders, whose bytes are limited by their size.
 *
 * @returns stops the watch
 */
export function watchMemory(pid: number, run: Watched, exceeded: () => void): () => void {
  let stopped = false;
  const look = async () => {
    const bytes = await heldBytes(pid, run.isBare);
    if (stopped) return;
    if (bytes > run.residentBytes || run.group?.ranOut() === true) exceeded();
    else timer = setTimeout(() => void look(), intervalMs);
  };
  let timer = setTimeout(() => void look(), intervalMs);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

async function heldBytes(root: number, isBare: boolean): Promise<number> {
  const pids = await processesBelow(root);
  const innermost = pids.at(-1) ?? root;
  const buffers = new Map<string, number>();
  const [resident, folders, queued] = await Promise.all([
    Promise.all(pids.map(readResident)),
    isBare ? 0 : readFolders(innermost),
    isBare ? 0 : readQueues(innermost),
    Promise.all(pids.map((pid) => readBuffers(pid, buffers))),
  ]);
  return [...resident, ...buffers.values(), folders, queued].reduce((sum, bytes) => sum + bytes, 0);
}

/** The process and all below it, each before its children. */
export async function processesBelow(pid: number): Promise<number[]> {
  const below = await Promise.all((await readChildren(pid)).map(processesBelow));
  return [pid, ...below.flat()];
}

/** proc(5): RssAnon, RssShmem and VmPTE of /proc/pid/status, in kB. A process that is gone holds nothing. */
async function readResident(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const found = status.matchAll(/^(?:RssAnon|RssShmem|VmPTE):\s+(\d+) kB$/gmu);
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

/** Adds the sockets and pipes that a process has open, each once however many share it: `socket:[1234]`. */
async function readBuffers(pid: number, found: Map<string, number>): Promise<void> {
  const names = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const name of names) {
    // One after the other: thousands of reads at once would hold up the worker's own.
    const target = await readlink(`/proc/${pid}/fd/${name}`).catch(() => "");
    if (target.startsWith("socket:")) found.set(target, largest.socket);
    if (target.startsWith("pipe:")) found.set(target, largest.pipe);
  }
}

/** Entries in the folders the run may write to, as its own mount namespace shows them. */
async function readFolders(pid: number): Promise<number> {
  const folders = ["/tmp", layout.backend, "/dev/shm"];
  const entries = folders.map(async (folder) => {
    const about = await statfs(`/proc/${pid}/root${folder}`).catch(() => null);
    return about?.type === tmpfsMagic ? about.files - about.ffree : 0;
  });
  return (await Promise.all(entries)).reduce((sum, count) => sum + count * entryBytes, 0);
}

/** TMPFS_MAGIC of linux/magic.h. */
const tmpfsMagic = 0x0102_1994;

/** What TCP holds, which grows its buffers by itself: tx_queue and rx_queue of /proc/pid/net/tcp, hexadecimal. */
async function readQueues(pid: number): Promise<number> {
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((name) => readFile(`/proc/${pid}/net/${name}`, "utf8").catch(() => "")),
  );
  const queues = tables.join("\n").matchAll(/ ([0-9A-F]{8}):([0-9A-F]{8}) \d\d:/gu);
  return [...queues].reduce(
    (sum, [, sent = "0", received = "0"]) => sum + parseInt(sent, 16) + parseInt(received, 16),
    0,
  );
}
