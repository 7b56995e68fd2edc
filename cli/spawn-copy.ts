import { type ChildProcess, spawn } from "node:child_process";
import { startOfCopy } from "./start-anew.ts";

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
