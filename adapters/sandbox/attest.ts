import { randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { SandboxRun } from "../../machines/contracts/ports/sandbox.ts";
import { shellQuote } from "./host-view.ts";
import { limits } from "./program.ts";
import {
  fillScript,
  inEither,
  type Probe,
  rawProbes,
  rawScript,
  shellProbes,
  x32Script,
} from "./probes.ts";
import { makeFolder, noRoom, removeFolder, removeLeftFolders } from "./owner.ts";
import { runBoxed } from "./run-boxed.ts";
import { errno } from "./seccomp-rules.ts";
import { type Driver, startOf } from "./drivers.ts";
import { saying } from "./files-out.ts";

export interface ProbeResult {
  name: string;
  /**
   * `unprobed`: what would make the call is not installed. `not held`: nobody says that it does, and it was not tried. Any
   * `open` disqualifies the driver.
   */
  state: "held" | "open" | "unprobed" | "not held";
  /** What was found; empty where it held. */
  detail: string;
}

const held = (name: string): ProbeResult => ({ name, state: "held", detail: "" });
const open = (name: string, detail: string): ProbeResult => ({ name, state: "open", detail });
const judge = (name: string, isHeld: boolean, detail: string) =>
  isHeld ? held(name) : open(name, detail);

/**
 * Tries to break out of a driver's sandbox, and to use more than its limits, in as many ways as we know. What gives no
 * answer counts as open. Takes a second or two; the worker's own files, port and process serve as the bait.
 *
 * @throws Error where there is no room for those, or no time: of the driver nothing is known then
 */
export async function attest(
  driver: Pick<Driver, "builder" | "inContainer" | "isBare">,
  filter: Buffer,
): Promise<ProbeResult[]> {
  const run: Run = async (script, timeoutMs = probeMs) => {
    const { mark, ...start } = startOf(driver, timeoutMs);
    const program = `cd "$HOME"; ${saying(mark, "echo started")}; exec 3>&- </dev/null; ${script}`;
    const box = { ...start, program, filter, timeoutMs, interpreter: "sh" };
    const ran = await runBoxed(box, new AbortController().signal);
    if (ran.ok && ran.value.timedOut && timeoutMs === probeMs) {
      throw new Error(
        `the probes were not done in ${probeMs / 1_000} seconds: this machine has too much to do`,
      );
    }
    if (ran.ok) return ran.value;
    const { message, retryable } = ran.failure;
    if (retryable) throw new Error(message);
    return {
      exitCode: null,
      timedOut: false,
      stdout: "",
      stderr: message,
      truncated: false,
      killed: false,
    };
  };
  if (driver.isBare === true) return attestBare(run);
  void removeLeftFolders();
  const folder = makeFolder("probe");
  const found = await Promise.all([
    inShell(run, folder, driver.inContainer === true),
    rawCalls(run, driver.inContainer),
    outputFlood(run),
    survivors(run),
    unmappedMemory(run, driver.inContainer),
  ]);
  return found.flat();
}

/** For probes that do not wait themselves: 30 times as long as they take on a machine that has something else to do. */
const probeMs = 120_000;

/** What the driver `none` has to hold all the same. Nothing else is tried: it would be done to the host itself. */
const heldBare: ReadonlySet<string> = new Set([
  "environment: its own",
  "descriptors: three alone",
  "core dumps",
  "floods: of a file",
  "floods: of memory",
  "floods: of open files",
]);

async function attestBare(run: Run): Promise<ProbeResult[]> {
  const all = shellProbes({ file: "", secret: "", port: 0, pid: 0, mark: "" });
  const harmless = all.filter(({ name }) => heldBare.has(name));
  const untried = all.filter(({ name }) => !heldBare.has(name)).map(({ name }) => name);
  const calls = process.arch === "arm64" || process.arch === "x64" ? rawProbes(process.arch) : [];
  const detail = "not tried: this driver has no boundary";
  const notHeld = (name: string): ProbeResult => ({ name, state: "not held", detail });
  const [harmlessOnes, flood, late] = await Promise.all([
    askAll(run, harmless, () => true),
    outputFlood(run),
    survivors(run),
  ]);
  return [
    ...harmlessOnes,
    ...flood,
    // What leaves its process group is ended where a cgroup can be had.
    ...late.map((result) =>
      result.name.endsWith("survivors") && result.state === "open"
        ? { ...result, state: "not held" as const }
        : result,
    ),
    ...[...untried, ...[...calls].map(([name]) => name)].map(notHeld),
  ];
}

type Run = (
  script: string,
  timeoutMs?: number,
) => Promise<Omit<SandboxRun, "durationMs" | "leftOutBytes">>;

/** Asks all shell probes in one run, and whether what we planted in the folder is as it was; removes the folder. */
async function inShell(run: Run, folder: string, inContainer: boolean): Promise<ProbeResult[]> {
  const secret = randomBytes(8).toString("hex");
  const file = join(folder, "planted");
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  const mark = sleepTime();
  // It reads from us, and so ends with us, be it by SIGKILL.
  const bait = spawn("sh", ["-c", "read line", mark], { stdio: ["pipe", "ignore", "ignore"] });
  for (const one of [bait, bait.stdin]) one.on("error", () => {});
  try {
    if (bait.pid === undefined) throw new Error("no process could be started");
    await writeFile(file, secret).catch((error: unknown) => {
      throw noRoom(error);
    });
    // Readable by all, so that it is the sandbox that keeps it.
    await Promise.all([chmod(folder, 0o755), chmod(file, 0o644)]);
    const port = await new Promise<number>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "0.0.0.0", () => {
        const address = server.address();
        resolve(typeof address === "object" ? (address?.port ?? 0) : 0);
      });
    });
    const plants = { file: shellQuote(file), secret, port, pid: bait.pid, mark };
    const probes = [
      ...shellProbes(plants, inContainer),
      { name: "calls: as x32", script: x32Script() },
    ];
    const isAlive = () => bait.exitCode === null && bait.signalCode === null;
    const results = await askAll(run, probes, isAlive);
    const isAsItWas = (await readFile(file, "utf8")) === secret;
    return [
      ...results,
      judge("host files: ours is unchanged", isAsItWas, "our file was changed"),
      judge("network: nobody called", connections === 0, `${connections} connections`),
    ];
  } finally {
    bait.kill("SIGKILL");
    server.close();
    await removeFolder(folder);
  }
}

async function askAll(
  run: Run,
  probes: readonly Probe[],
  isAlive: () => boolean,
): Promise<ProbeResult[]> {
  const { stdout, stderr } = await run(probes.map(asked).join("\n"));
  const answers = new Map(
    stdout.split("\n").map((line): [string, string] => {
      const [index = "", ...text] = line.split("\t");
      return [index, text.join(" ")];
    }),
  );
  return probes.map(({ name }, index) => {
    const answer = answers.get(String(index)) ?? "";
    if (name.startsWith("signals: ") && !isAlive()) return open(name, "our process ended");
    return judge(name, answer === "held", answer || `no answer ${stderr.slice(-200)}`.trim());
  });
}

/** A probe that prints more than a line, or ends its shell, spoils no other. */
function asked({ script }: Probe, index: number): string {
  return `answer=$( ( ${script}\n ) 2>/dev/null | head -c 300 | tr '\\n\\t' '  ' | sed 's/ *$//' ); printf '${index}\\t%s\\n' "$answer"`;
}

async function rawCalls(run: Run, inContainer = false): Promise<ProbeResult[]> {
  if (process.arch !== "x64" && process.arch !== "arm64") return [];
  const groups = [...rawProbes(process.arch, inContainer)];
  const lists = groups.map(([, calls]) => calls);
  const { stdout, stderr } = await run(rawScript(lists));
  const answers = stdout.trim().split("\n");
  if (answers[0] === "none") {
    const detail = "needs perl or python3; the filter itself is bound";
    return groups.map(([name]) => ({ name, state: "unprobed", detail }));
  }
  const refusals: number[] = Object.values(errno);
  return groups.map(([name, calls], index) => {
    const own = answers.filter((line) => line.startsWith(`${index} `));
    const errors = own.map((line) => Number(line.split(" ")[1]));
    const passed = calls.filter((_, at) => !refusals.includes(errors[at] ?? 0));
    const detail = `${passed.map((call) => call.name).join(", ")} ${stderr.slice(-200)}`;
    return judge(name, passed.length === 0 && own.length === calls.length, detail.trim());
  });
}

async function outputFlood(run: Run): Promise<ProbeResult[]> {
  const flood = await run("yes flood | head -c 50000000; yes flood | head -c 50000000 >&2");
  const kept = Math.max(Buffer.byteLength(flood.stdout), Buffer.byteLength(flood.stderr));
  const isBounded =
    flood.truncated && kept > 0 && kept <= limits.headBytes + limits.tailBytes + 100;
  return [judge("floods: of output", isBounded, `${kept} bytes were kept`)];
}

/** What detaches itself from its parent, group and session must be gone with the run all the same. */
async function survivors(run: Run): Promise<ProbeResult[]> {
  const mark = sleepTime();
  const late = await run(`( setsid sleep ${mark} & ) </dev/null >/dev/null 2>&1; sleep 60`, 1_000);
  let left = await processesWith(mark);
  for (let tries = 0; tries < 200 && left.length > 0; tries += 1) {
    await sleep(50);
    left = await processesWith(mark);
  }
  for (const pid of left) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // Gone meanwhile.
    }
  }
  return [
    judge(
      "time-out: it comes",
      late.timedOut,
      late.stderr.slice(-200) || "the run ended otherwise",
    ),
    judge("time-out: no survivors", left.length === 0, `${left.length} processes lived on`),
  ];
}

/** A time to sleep by which a process can be told from all others. */
function sleepTime(): string {
  return `${100_000 + (randomBytes(4).readUInt32LE() % 900_000)}.25`;
}

async function processesWith(mark: string): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/u.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return pids.filter((_, at) => lines[at]?.includes(mark) === true).map(Number);
}

/** Enough sockets in enough processes that the kernel could be made to hold more than the limit for them. */
async function unmappedMemory(run: Run, inContainer = false): Promise<ProbeResult[]> {
  const name = "floods: of kernel buffers";
  const perl = `use Socket; for (1 .. 30) { last if !fork } my @held; while (@held < 240) { socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or last; push @held, $a, $b } sleep 100`;
  const python = `
import os, socket, time
for _ in range(30):
    if os.fork() == 0: break
held = []
try:
    while len(held) < 120: held.append(socket.socketpair())
except OSError: pass
time.sleep(100)`;
  const { stdout, stderr, timedOut, killed } = await run(
    inContainer ? fillScript() : inEither(perl, python),
    // The kernel answers at once; who looks at each socket may take seconds on a machine with much to do.
    60_000,
  );
  if (stdout.startsWith("none")) {
    return [{ name, state: "unprobed", detail: "needs perl or python3" }];
  }
  const isEnded = killed || (inContainer && stdout.startsWith("limited"));
  return [judge(name, isEnded, timedOut ? "it ran on" : stderr.slice(-200))];
}
