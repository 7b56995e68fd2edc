import { randomInt } from "node:crypto";
import { findTool } from "./find-tool.ts";
import { filterDescriptor, filterLoader } from "./load-filter.ts";
import {
  hiddenInProc,
  type HostView,
  readHostView,
  layout,
  mountPoint,
  nodeToShow,
  shellQuote,
} from "./host-view.ts";
import { limits } from "./program.ts";

/**
 * A sandbox built by util-linux alone. The first process of the new namespaces builds a root of its own, makes it
 * the root, lets go of the host's, and runs the program one `chroot` further in: the kernel refuses new user
 * namespaces to whoever is chrooted, so there is no way to regain a capability.
 *
 * As root each run gets a user id of its own, because process limits count by user. Without root the first process
 * is root of a user namespace and the program the same user without any capability.
 */
export function unshare(): BoxBuilder {
  const asRoot = process.getuid?.() === 0;
  const loader = filterLoader();
  const script = buildScript(readHostView(), nodeToShow());
  const outer = [
    // Without it the box would outlive a worker that was killed.
    findTool("setpriv") ?? "setpriv",
    "--pdeathsig",
    "KILL",
    "--",
    findTool("unshare") ?? "unshare",
    "--mount",
    "--pid",
    "--net",
    "--ipc",
    "--uts",
    "--cgroup",
    "--fork",
    "--kill-child=KILL",
    ...(asRoot ? [] : ["--user", "--map-root-user"]),
    "--",
    "/bin/sh",
    "-c",
    script,
    "sh",
  ];
  return (timeoutMs) => {
    const user = asRoot ? String(randomInt(2_000_000_000, 2_100_000_000)) : "0";
    const identity = asRoot ? ["--reuid", user, "--regid", user, "--clear-groups"] : [];
    const weaken = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"];
    // What loads the filter sets the limits as well: a program of its own for that would take a millisecond.
    const inside =
      loader === null ? confinedShell(timeoutMs) : [...loader, limitWord(timeoutMs), ...shell];
    return [...outer, user, "setpriv", ...identity, ...weaken, ...inside];
  };
}

/** `$1` is the user id that owns the writable folders; the rest is the command to run inside. */
function buildScript(view: HostView, node: string | null): string {
  const place = mountPoint(node);
  return `
set -eu
user=$1; shift
mount -t tmpfs -o size=1m,mode=755,nosuid,nodev box ${place}
cd ${place}
mkdir -p host jail/etc jail/proc jail/dev/shm jail/tmp jail${layout.backend} jail${layout.nodeFolder}
${view.folders.map((path) => `mkdir -p jail${path}; ${show(path, path)}`).join("\n")}
${view.links.map(({ path, target }) => `ln -s ${shellQuote(target)} jail${path}`).join("\n")}
${view.etc.map((path) => `if [ -d ${path} ]; then mkdir jail${path}; else : > jail${path}; fi; ${show(path, path)}`).join("\n")}
${node === null ? "" : `: > jail${nodePath}; ${show(node, nodePath)}`}
for name in null zero full random urandom; do : > jail/dev/$name; mount --bind /dev/$name jail/dev/$name; done
ln -s /proc/self/fd jail/dev/fd
for name in 0:stdin 1:stdout 2:stderr; do ln -s /proc/self/fd/\${name%:*} jail/dev/\${name#*:}; done
mount -t proc -o ro,nosuid,nodev,noexec proc jail/proc
for file in ${hiddenInProc().join(" ")}; do mount --bind /dev/null jail$file; done
mount -t tmpfs -o ${sized(limits.sharedMemoryBytes)} tmp jail/dev/shm
mount -t tmpfs -o ${sized(limits.folderBytes)} tmp jail/tmp
mount -t tmpfs -o ${sized(limits.folderBytes)} tmp jail${layout.backend}
hostname sandbox 2>/dev/null || true
for path in jail/*; do ln -s $path \${path#jail/}; done
pivot_root . host
cd /
umount -l /host
mount -o remount,bind,ro,nosuid,nodev /
chroot /jail "$@"
exit $?
`;
}

const nodePath = `${layout.nodeFolder}/node`;

function show(source: string, path: string): string {
  const target = `jail${path}`;
  return `mount --bind ${shellQuote(source)} ${target}; mount -o remount,bind,ro,nosuid,nodev ${target}`;
}

function sized(bytes: number): string {
  return `size=${bytes},nr_inodes=${limits.folderEntries},mode=1777,nosuid,nodev,uid=$user,gid=$user`;
}

/** Gives the command line that builds one sandbox and evaluates in it the program on standard input. */
export type BoxBuilder = (
  timeoutMs: number,
  run?: { mark?: string; residentBytes?: number },
) => string[];

/** A run's resource limits, by the number that the kernel has for each and prlimit's name for it. */
const resourceLimits = (timeoutMs: number) => [
  { number: 6, name: "nproc", most: limits.processes },
  { number: 2, name: "data", most: limits.dataBytes },
  { number: 1, name: "fsize", most: limits.fileBytes },
  { number: 7, name: "nofile", most: limits.openFiles },
  // For each process, and only behind the time limit.
  { number: 0, name: "cpu", most: Math.ceil(timeoutMs / 1000) + 1 },
  { number: 4, name: "core", most: 0 },
];

const limitWord = (timeoutMs: number): string =>
  resourceLimits(timeoutMs)
    .map(({ number, most }) => `${number}=${most}`)
    .join(",");

/** Evaluates the program on its standard input. */
const shell = ["sh", "-c", 'eval "$(cat)"'];

/**
 * The innermost command of a driver that loads no filter by itself: resource limits (prlimit of util-linux), then the
 * shell. The limits are set inside, where the process count is that of the run's own user namespace or user id.
 */
export function confinedShell(timeoutMs: number, { isBare = false } = {}): string[] {
  const set = resourceLimits(timeoutMs)
    // Without a namespace it would count whatever else the user runs.
    .filter(({ name }) => !isBare || name !== "nproc")
    .map(({ name, most }) => `--${name}=${most}:${most}`);
  // Elsewhere the filter that stands on it has been read by now.
  const own = isBare ? ["sh", "-c", `exec ${filterDescriptor}<&-; eval "$(cat)"`] : shell;
  return ["prlimit", ...set, "--", ...own];
}
