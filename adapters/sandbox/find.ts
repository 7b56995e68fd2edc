import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fail, retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import {
  type Sandbox,
  sandboxDrivers,
  type SandboxOutputs,
} from "../../machines/contracts/ports/sandbox.ts";
import { attest, type ProbeResult } from "./attest.ts";
import { findCgroups } from "./cgroup.ts";
import {
  type Driver,
  driverProblem,
  driversWith,
  lasting,
  type Problem,
  tryStart,
} from "./drivers.ts";
import { findTool } from "./find-tool.ts";
import { interpreterOf, limits, writeProgram } from "./program.ts";
import { runBoxed } from "./run-boxed.ts";
import { seccompFilter } from "./seccomp.ts";
import { warningWithoutBoundary } from "./without-boundary.ts";

interface Wanted {
  log?: Log;
  /** The drivers that may be used, the one to be tried first first; null for all. */
  order?: readonly string[] | null;
  /** Tries just the driver of this name. */
  only?: string;
  /** What containers are made of; without one there are none. */
  image?: string | null;
  /** Whether the driver `none` may be used, which keeps code from nothing; it has to be named in `order` as well. */
  withoutBoundary?: boolean;
  /** At most so much is kept of any run's files. */
  outputs?: OutputLimits;
}

type OutputLimits = Omit<SandboxOutputs, "paths">;
const defaultOutputs: OutputLimits = { maxFiles: 20, maxBytes: 16 * 1_048_576 };

/**
 * The best sandbox that works on this machine, each driver tried by really running something in it once. Before its
 * first job it has to prove that it holds, by {@link attest}; one that does not is not used, and the next one is tried.
 * `missing` is one sentence for a person, with the command that mends it. Nothing ever runs without a sandbox. `trouble` is
 * such a sentence where none works at the moment, for a reason that may pass: each job tries anew.
 */
export async function findSandbox({
  log,
  only,
  order = null,
  outputs,
  image = null,
  withoutBoundary = false,
}: Wanted = {}): Promise<{ sandbox: Sandbox; trouble?: string } | { missing: string }> {
  if (process.platform !== "linux") {
    return { missing: "no sandbox: it needs Linux, for instance `docker run` with a Linux image" };
  }
  const reasons: Reasons = new Map();
  const wanted = (order ?? sandboxDrivers).flatMap((name) =>
    driversWith(image, withoutBoundary).filter((driver) => driver.name === name),
  );
  for (const [at, driver] of wanted.entries()) {
    if (only !== undefined && only !== driver.name) continue;
    const problem = await driverProblem(driver);
    if (problem === null) {
      if (driver.isBare === true) log?.warn({ driver: driver.name }, warningWithoutBoundary());
      else log?.info({ driver: driver.name, limits: limitedBy() }, "sandbox found");
      const rest = only === undefined ? wanted.slice(at) : [driver];
      return { sandbox: createProvenSandbox(rest, log, outputs) };
    }
    log?.debug(
      { driver: driver.name, problem: problem.reason },
      "sandbox driver does not work here",
    );
    reasons.set(driver, problem);
  }
  const left = [...reasons].filter(([, { passes }]) => passes).map(([driver]) => driver);
  const trouble = await missing(reasons);
  if (left.length === 0) return { missing: trouble };
  log?.warn({ trouble }, "no sandbox driver works at the moment; each sandbox job tries anew");
  return { sandbox: createProvenSandbox(left, log, outputs), trouble };
}

/** What each driver does with every probe; a driver that does not work here at all has a `problem` instead. */
export async function probeDrivers({
  image = null,
  withoutBoundary = false,
}: Pick<Wanted, "image" | "withoutBoundary"> = {}): Promise<
  { driver: string; problem: string | null; probes: ProbeResult[] }[]
> {
  const found = [];
  const all = process.platform === "linux" ? driversWith(image, withoutBoundary) : [];
  // What is used in place of all others is all there is to know.
  const drivers = all.filter(({ isBare }) => (isBare === true) === withoutBoundary);
  for (const driver of drivers) {
    const tried = (await driverProblem(driver)) ?? (await tryAttest(driver));
    const result =
      "reason" in tried ? { problem: tried.reason, probes: [] } : { problem: null, probes: tried };
    found.push({ driver: driver.name, ...result });
  }
  return found;
}

/** What limits the memory and the processes of a run as a whole. */
export function limitedBy(): string {
  const cgroups = findCgroups();
  return "missing" in cgroups
    ? `memory is counted ten times a second, because no cgroup can be made here (${cgroups.missing})`
    : `a cgroup (version ${cgroups.version}) limits the memory and the processes of each run`;
}

type Reasons = Map<Driver, Problem>;

async function missing(reasons: Reasons): Promise<string> {
  const all = [...reasons].map(([{ name }, { reason }]) => `${name}: ${reason}`).join("; ");
  return `no sandbox works here (${all}); ${await advice(reasons)}`;
}

async function advice(reasons: Reasons): Promise<string> {
  if (mayPass(reasons)) return "what may pass by itself is tried again with each job";
  if (await isNamespaceRefused()) {
    return "no program may make a user namespace here, so that nothing you install would mend it; docs/sandbox.md says what to allow, in a container or on a host";
  }
  return findTool("bwrap") === null
    ? `try \`${installCommand()}\``
    : "`stateplane doctor --probe` shows what each driver does here";
}

/** Whether this kernel, or the container around us, lets nobody make what all drivers but containers are built on. */
async function isNamespaceRefused(): Promise<boolean> {
  const unshare = findTool("unshare");
  if (unshare === null) return false;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  // Its exit code for a namespace that it did not get; whoever runs out of time was not refused.
  execFile(unshare, ["--user", "true"], { timeout: 5_000 }, (error) => resolve(error?.code === 1));
  return promise;
}

const mayPass = (reasons: Reasons) => [...reasons.values()].some(({ passes }) => passes);

function installCommand(): string {
  const installers = {
    "apt-get": "apt-get install bubblewrap",
    dnf: "dnf install bubblewrap",
    apk: "apk add bubblewrap",
    pacman: "pacman -S bubblewrap",
    zypper: "zypper install bubblewrap",
  };
  const found = Object.entries(installers).find(([tool]) => findTool(tool) !== null);
  return found?.[1] ?? installers["apt-get"];
}

/** A sandbox that runs nothing before one of the drivers has proved that it holds. */
export function createProvenSandbox(
  candidates: Driver[],
  log?: Log,
  most: OutputLimits = defaultOutputs,
): Sandbox {
  let driver = candidates[0]?.name ?? "";
  let isAnnounced = false;
  return {
    get driver() {
      return driver;
    },
    async run(request, signal) {
      const { outputs } = request;
      const narrowed =
        outputs === undefined
          ? request
          : {
              ...request,
              outputs: {
                paths: outputs.paths,
                maxFiles: Math.min(outputs.maxFiles, most.maxFiles),
                maxBytes: Math.min(outputs.maxBytes, most.maxBytes),
              },
            };
      const written = writeProgram(narrowed);
      if (!written.ok) return written;
      const reasons: Reasons = new Map();
      for (const candidate of candidates) {
        const problem = await whatIsOpen(candidate);
        if (problem === null) {
          driver = candidate.name;
          if (!isAnnounced && candidate.isBare !== true)
            log?.info({ driver }, "the sandbox held against every probe");
          isAnnounced = true;
          const { timeoutMs, memoryBytes } = request;
          const residentBytes = Math.min(memoryBytes ?? limits.residentBytes, limits.residentBytes);
          const interpreter = interpreterOf(request.language);
          const started = tryStart(candidate, timeoutMs, residentBytes);
          if (!started.ok) return started;
          const { mark, ...start } = started.value;
          // The same that was written above, but for the mark.
          const program = mark === "" ? written : writeProgram(narrowed, mark);
          if (!program.ok) return program;
          const filter = filterHere();
          const box = {
            ...start,
            program: program.value,
            filter,
            timeoutMs,
            interpreter,
            residentBytes,
            outputs: narrowed.outputs,
          };
          return runBoxed(box, signal);
        }
        const { reason: open, passes } = problem;
        if (passes)
          log?.warn({ driver: candidate.name, reason: open }, "sandbox driver could not be tried");
        else
          log?.warn(
            { driver: candidate.name, open },
            "sandbox driver does not hold and is not used",
          );
        reasons.set(candidate, problem);
      }
      const isPassing = mayPass(reasons);
      return fail((isPassing ? retryable : terminal)("unavailable", await missing(reasons)));
    },
  };
}

/** Of each driver and configuration what was found, kept in this process alone: a file that says so could be forged. */
const proved = new Map<string, Promise<Problem | null>>();

/** What a driver lets through, for a person; null if it holds. */
function whatIsOpen(driver: Driver): Promise<Problem | null> {
  const key = JSON.stringify([
    driver.name,
    driver.inContainer ? driver.builder()(0) : null,
    process.env["PATH"],
    process.getuid?.(),
    limits,
    bootId(),
  ]);
  const known = proved.get(key) ?? prove(driver);
  proved.set(key, known);
  // A machine that was out of processes for a moment is asked again by the next job.
  void known.then((open) => open !== null && proved.delete(key));
  return known;
}

async function prove(driver: Driver): Promise<Problem | null> {
  const problem = await driverProblem(driver);
  if (problem !== null) return problem;
  const probes = await tryAttest(driver);
  if ("reason" in probes) return probes;
  const open = probes.filter(({ state }) => state === "open");
  if (open.length === 0) return null;
  const all = open.map(({ name, detail }) => `${name} (${detail})`).join(", ");
  return lasting(`does not hold against ${all}`);
}

/** What each probe found, or why there was no trying: a full disk, no process left, no time. */
const tryAttest = (driver: Driver): Promise<ProbeResult[] | Problem> =>
  attest(driver, filterHere()).catch((error) => ({
    reason: `it could not be tried: ${error instanceof Error ? error.message : String(error)}`,
    passes: true,
  }));

const filterHere = () => seccompFilter() ?? Buffer.alloc(0);

/** Of a container that is moved to another kernel the answer would be stale. */
function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}
