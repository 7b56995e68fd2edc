import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const fromSources = fileURLToPath(new URL("../../cli/bin.ts", import.meta.url));

export interface CliOptions {
  cwd: string;
  /** On top of an environment that says nothing of us but PATH and HOME. */
  env?: Record<string, string>;
  stdin?: string;
  /** In place of the sources and of this process's Node: an installed program, and another Node. */
  program?: { bin: string; node: string };
}

export interface CliResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunningCli {
  readonly child: ChildProcess;
  readonly pid: number;
  /** What it said so far. */
  said(): { stdout: string; stderr: string };
  /** Waits for the text on either stream; throws with all that was said when the program ends before. */
  says(text: string | RegExp): Promise<string>;
  /** Resolves when it has ended. */
  readonly ended: Promise<CliResult>;
  kill(signal: NodeJS.Signals): void;
}

/** Starts the real program as its own process and process group, as a shell does. */
export function startCli(
  args: string[],
  { cwd, env = {}, stdin, program = { bin: fromSources, node: process.execPath } }: CliOptions,
): RunningCli {
  const child = spawn(program.node, [program.bin, ...args], {
    cwd,
    detached: true,
    env: { PATH: process.env["PATH"] ?? "", HOME: cwd, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.end(stdin ?? "");
  const said = { stdout: "", stderr: "" };
  let more = Promise.withResolvers<void>();
  const hear = (stream: "stdout" | "stderr") => {
    // A character may come in two pieces.
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      said[stream] += text;
      more.resolve();
    });
  };
  hear("stdout");
  hear("stderr");
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, ...said }));
  const pid = child.pid ?? 0;
  return {
    child,
    pid,
    ended,
    said: () => ({ ...said }),
    async says(text) {
      for (;;) {
        const all = said.stdout + said.stderr;
        const found = typeof text === "string" ? all.includes(text) : text.test(all);
        if (found) return all;
        more = Promise.withResolvers<void>();
        const isOver = await Promise.race([more.promise.then(() => false), ended.then(() => true)]);
        const last = said.stdout + said.stderr;
        if (isOver && last === all) {
          const how = child.signalCode ?? `code ${child.exitCode}`;
          throw new Error(`it ended with ${how} without saying ${text}:\n${all}`);
        }
      }
    },
    kill: (signal) => void child.kill(signal),
  };
}

/** Runs the program to its end. */
export function runCli(args: string[], options: CliOptions): Promise<CliResult> {
  return startCli(args, options).ended;
}

/** The processes of a group that are left, one line each. */
export async function processGroup(pgid: number): Promise<string[]> {
  const all = await processes();
  return all.filter((line) => Number(line.split(/\s+/)[0]) === pgid);
}

let times = 0;

/** Seconds for a `sleep` that is to be told from every other one of the machine by its command line. */
export function sleepTime(): string {
  times += 1;
  return `1000.${String(process.pid).padStart(9, "0")}${String(times).padStart(4, "0")}`;
}

/** The processes whose command line has the words and the folder in it. */
export async function processesNaming(words: string, folder: string): Promise<string[]> {
  const all = await processes();
  return all.filter((line) => line.includes(words) && line.includes(folder));
}

async function processes(): Promise<string[]> {
  const ps = spawn("ps", ["-eo", "pgid=,stat=,args="], { stdio: ["ignore", "pipe", "ignore"] });
  let text = "";
  ps.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await once(ps, "close");
  const lines = text.split("\n").map((line) => line.trim());
  // A zombie has ended: only its parent has not looked yet.
  return lines.filter((line) => line !== "" && !line.split(/\s+/)[1]?.startsWith("Z"));
}
