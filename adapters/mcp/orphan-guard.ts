import { type ChildProcess, spawn } from "node:child_process";

/**
 * A worker that is killed by SIGKILL ends none of its servers. They see the end of their input then, and one that takes no
 * notice would run for ever. So one shell beside the worker, in a session of its own, is told of each process group that
 * begins and ends; when its own input ends, which is when the worker is gone, it ends the groups that are left. Nothing
 * is left of a worker that closes, and then the shell goes without a word.
 */
const script = `
live=' '
while read -r word pid; do
  case $word in
    began) live="$live$pid " ;;
    ended) case $live in *" $pid "*) live="\${live%%" $pid "*} \${live#*" $pid "}" ;; esac ;;
  esac
done
[ -n "$(echo $live)" ] || exit 0
sleep 1
for pid in $live; do kill -15 "-$pid" 2>/dev/null; done
sleep 1
for pid in $live; do kill -9 "-$pid" 2>/dev/null; done
exit 0`;

let guard: ChildProcess | null = null;

/** Tells of a child that leads a process group of its own; returns how to tell that the group has ended. */
export function guardGroup(leader: number): () => void {
  tell(`began ${leader}`);
  return () => tell(`ended ${leader}`);
}

function tell(line: string): void {
  // There are no process groups on Windows.
  if (process.platform === "win32") return;
  guard ??= startGuard();
  if (guard.stdin?.writable === true) guard.stdin.write(`${line}\n`);
}

function startGuard(): ChildProcess {
  const child = spawn("/bin/sh", ["-c", script], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    cwd: "/",
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
  });
  // Without it a worker works as well; only its death by SIGKILL may leave a server behind.
  child.on("error", () => undefined);
  child.stdin.on("error", () => undefined);
  child.unref();
  (child.stdin as unknown as { unref?(): void }).unref?.();
  return child;
}
