import { readFile, readdir } from "node:fs/promises";

/** What one run may use, beside its time. */
export const limits = {
  /** Kept of each stream, bytes. */
  outputBytes: 8 * 1_048_576,
  reportBytes: 32 * 1_048_576,
  /** Of /tmp, in memory, bytes. */
  folderBytes: 2_048 * 1_048_576,
  /** RLIMIT_FSIZE, bytes. */
  fileBytes: 1_024 * 1_048_576,
  /** RLIMIT_NOFILE. */
  openFiles: 4_096,
  /** Of all its processes together: memory that is its own, bytes, and how many they are. Watched. */
  residentBytes: 4_096 * 1_048_576,
  processes: 512,
} as const;

const watchEveryMs = 200;

/** Calls `exceeded` once when the processes below `pid` hold more together than the limits; returns how to stop. */
export function watch(pid: number, exceeded: () => void): () => void {
  let stopped = false;
  const look = async () => {
    const { bytes, processes } = await usage(pid);
    if (stopped) return;
    if (bytes > limits.residentBytes || processes > limits.processes) exceeded();
    else timer = setTimeout(() => void look(), watchEveryMs);
  };
  let timer = setTimeout(() => void look(), watchEveryMs);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** proc(5): RssAnon and RssShmem of /proc/PID/status in kB, and the children of each of its threads. */
async function usage(pid: number): Promise<{ bytes: number; processes: number }> {
  const total = { bytes: 0, processes: 0 };
  const pending = [pid];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const status = await readFile(`/proc/${at}/status`, "utf8").catch(() => "");
    for (const [, size] of status.matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB$/gm)) {
      total.bytes += Number(size) * 1024;
    }
    total.processes += 1;
    if (total.processes > limits.processes) break;
    const threads = await readdir(`/proc/${at}/task`).catch(() => []);
    for (const thread of threads) {
      const list = await readFile(`/proc/${at}/task/${thread}/children`, "utf8").catch(() => "");
      pending.push(...list.split(" ").filter(Boolean).map(Number));
    }
  }
  return total;
}

/** Ends what has left the run's process group, by the mark in its environment; again, until there is none. */
export async function killMarked(mark: string): Promise<void> {
  for (let round = 0; round < 10; round += 1) {
    const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
    const marked: number[] = [];
    for (const pid of pids) {
      const env = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
      if (env.includes(`STATEPLANE_RUN=${mark}`)) marked.push(Number(pid));
    }
    if (marked.length === 0) return;
    for (const pid of marked) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // Gone already.
      }
    }
  }
}
