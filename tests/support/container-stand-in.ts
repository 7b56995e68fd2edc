import { spawn } from "node:child_process";
import {
  appendFileSync,
  readdirSync,
  statSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

/**
 * Behaves like docker's command line as far as our driver calls it, with bubblewrap for the boundary: what an option asks
 * for is done only if the option is there. As with docker, the end of the command line does not end its container.
 */
const folder = process.env["STAND_IN"] ?? "";
const running = join(folder, "running");
const [command, ...words] = process.argv.slice(2);
appendFileSync(join(folder, "log"), `${JSON.stringify([command, ...words])}\n`);

const values = (option: string) =>
  words.flatMap((word, at) => (word === option ? [words[at + 1] ?? ""] : []));

function end(name: string): void {
  try {
    const pid = readFileSync(join(running, name), "utf8");
    for (const one of processesBelow(pid)) process.kill(Number(one), "SIGKILL");
  } catch {
    // It is gone.
  }
  rmSync(join(running, name), { force: true });
}

function processesBelow(pid: string): string[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
  return [pid, ...children.filter(Boolean).flatMap(processesBelow)];
}

async function run(): Promise<void> {
  // Loaded for a run alone: the other commands come before each of them, and answer at once.
  const { bubblewrap } = await import("../../adapters/sandbox/bubblewrap.ts");
  const { watchMemory } = await import("../../adapters/sandbox/memory.ts");
  const { answer, encode, op, seccompFilter } = await import("../../adapters/sandbox/seccomp.ts");
  const { confinedShell } = await import("../../adapters/sandbox/unshare.ts");
  const [name = ""] = values("--name");
  const [entry = "", , ...rest] = words.slice(words.indexOf("--entrypoint") + 1);
  const isLeaky = readdirSync(folder).includes("leaky");
  const hasNetwork = values("--network")[0] !== "none" || isLeaky;
  const outer = bubblewrap()(60_000).slice(0, -confinedShell(60_000).length);
  const box = outer.flatMap((word, at) => {
    // The command is the first process, as in a container.
    if (at === outer.length - 1) return ["--as-pid-1", word];
    if (word === "--die-with-parent") return [];
    return word === "--unshare-all" && hasNetwork ? [word, "--share-net"] : [word];
  });
  const limits = [...values("--ulimit"), `nproc=${values("--pids-limit")[0]}`];
  const prlimit = ["prlimit", ...limits.map((limit) => `--${limit}`), "--"];
  const [program = "", ...args] = [...box, ...prlimit, entry, ...rest];
  const profile = values("--security-opt").find((option) => option.startsWith("seccomp="));
  const rules = JSON.parse(readFileSync(profile?.slice(8) ?? "", "utf8")) as { syscalls: [] };
  const open = encode([{ code: op.answer, ifTrue: 0, ifFalse: 0, operand: answer.allow }]);
  const child = spawn(program, args, {
    detached: true,
    env: { PATH: process.env["PATH"], OF_THE_IMAGE: "secret" },
    stdio: ["inherit", "inherit", "inherit", "ignore", "pipe"],
  });
  const filter = child.stdio[4] as NodeJS.WritableStream;
  filter.end(rules.syscalls.length > 5 ? (seccompFilter() ?? open) : open);
  writeFileSync(join(running, name), String(child.pid));
  const unwatch = watchMemory(
    child.pid ?? 0,
    { residentBytes: Number(values("--memory")[0]), isBare: false, group: null },
    () => end(name),
  );
  child.on("exit", (code) => {
    unwatch();
    rmSync(join(running, name), { force: true });
    process.exitCode = code ?? 137;
  });
}

if (command === "run") await run();
if (command === "rm") words.slice(1).forEach(end);
if (command === "ps") {
  for (const name of readdirSync(running)) {
    const made = statSync(join(running, name)).mtime.toISOString();
    process.stdout.write(`${name}\t${made.slice(0, 19).replace("T", " ")} +0000 UTC\n`);
  }
}
if (command === "info") process.stdout.write(readFileSync(join(folder, "info")));
