import { type ChildProcess, spawn } from "node:child_process";
import { startOfCopy } from "./start-anew.ts";

/**
 * Has what is left of this program's copies killed with it, where it is ended at once (130, see `listenForStop`): a copy that
 * hangs heeds nothing else. Where it ends otherwise, a copy drains when its channel closes.
 *
 * @returns takes that back
 */
export function endCopiesAtOnce(
  copies: () => readonly (ChildProcess | null | undefined)[],
): () => void {
  const onExit = (code: number) => {
    if (code === 130) for (const copy of copies()) copy?.kill("SIGKILL");
  };
  process.on("exit", onExit);
  return () => void process.off("exit", onExit);
}

/**
 * Starts this program once more, as it was started itself: with its flags, and with no key in the environment block. The
 * copy has our streams and a channel to us, and a process group of its own: Ctrl-C reaches it through us, once.
 *
 * @param args the program's file and what follows it
 */
export function spawnCopy(args: readonly string[], given: NodeJS.ProcessEnv): ChildProcess {
  const { flags, env, takeBack } = startOfCopy(given);
  const child = spawn(process.execPath, [...flags, ...args], {
    env,
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    detached: true,
  });
  // Of one that ended before it took its environment, or never began.
  child.once("exit", takeBack);
  child.once("error", takeBack);
  return child;
}
