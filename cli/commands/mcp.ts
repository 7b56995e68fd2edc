import { spawn } from "node:child_process";
import { once } from "node:events";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "../command.ts";

/**
 * `mcp git`, `mcp test-runner`: a server that comes with the program, as a process of its own on these standard streams.
 * What it is given, it reads itself.
 */
export const runServer =
  (name: "git" | "test-runner"): Command =>
  async ({ invocation, stopping }) => {
    // Beside this file it is as this file is: TypeScript in the repository, JavaScript in the package.
    const file = `../../tools/${name}/server${extname(import.meta.url)}`;
    const entry = fileURLToPath(new URL(file, import.meta.url));
    const child = spawn(process.execPath, [entry, ...invocation.args], { stdio: "inherit" });
    // The terminal tells the whole group; who tells this process alone, means the server.
    stopping.signal.addEventListener("abort", () => child.kill("SIGTERM"), { once: true });
    stopping.now.addEventListener("abort", () => child.kill("SIGKILL"), { once: true });
    const [code] = (await once(child, "close")) as [number | null];
    if (code === 0 || stopping.signal.aborted) return 0;
    return code === 1 || code === 3 ? code : 2;
  };
