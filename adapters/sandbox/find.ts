import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { Sandbox } from "../../machines/contracts/ports/sandbox.ts";
import { bubblewrap } from "./bubblewrap.ts";
import { findTool } from "./find-tool.ts";
import { type BoxBuilder, unshare } from "./unshare.ts";
import { runBoxed } from "./run-boxed.ts";
import { filterLoader } from "./load-filter.ts";
import { seccompFilter } from "./seccomp.ts";
import { interpreterOf, writeProgram } from "./program.ts";

const drivers: { name: string; needs: string[]; builder: () => BoxBuilder }[] = [
  { name: "bubblewrap", needs: ["bwrap", "prlimit"], builder: bubblewrap },
  {
    name: "unshare",
    needs: ["unshare", "setpriv", "chroot", "pivot_root", "mount", "prlimit"],
    builder: unshare,
  },
];

/**
 * The best sandbox that works on this machine, each driver tried by really running something in it once.
 * `missing` is one sentence for a person, with the command that mends it. Nothing ever runs without a sandbox.
 */
export async function findSandbox({
  log,
  only,
}: {
  log?: Log;
  /** Tries just the driver of this name. */
  only?: string;
} = {}): Promise<{ sandbox: Sandbox } | { missing: string }> {
  if (process.platform !== "linux") {
    return { missing: "no sandbox: it needs Linux, for instance `docker run` with a Linux image" };
  }
  const reasons: string[] = [];
  for (const { name, needs, builder } of drivers) {
    if (only !== undefined && only !== name) continue;
    const problem = await driverProblem(needs, builder);
    if (problem === null) {
      log?.info({ driver: name }, "sandbox found");
      return { sandbox: createBoxedSandbox(name, builder()) };
    }
    log?.debug({ driver: name, problem }, "sandbox driver does not work here");
    reasons.push(`${name}: ${problem}`);
  }
  return { missing: `no sandbox works here (${reasons.join("; ")}); try \`${installCommand()}\`` };
}

async function driverProblem(needs: string[], builder: () => BoxBuilder): Promise<string | null> {
  const filter = seccompFilter();
  if (filter === null) return `there is no seccomp filter for ${process.arch}`;
  const absent = needs.filter((tool) => findTool(tool) === null);
  if (absent.length > 0) return `${absent.join(", ")} not on the PATH`;
  if (builder === unshare && filterLoader() === null) {
    return "neither perl nor python3 below /usr, one of which loads its seccomp filter";
  }
  const timeoutMs = 10_000;
  const command = builder()(timeoutMs);
  const program = "echo started >&3; echo works";
  const probe = { command, program, filter, timeoutMs, interpreter: "sh" };
  const run = await runBoxed(probe, new AbortController().signal);
  if (!run.ok) return run.failure.message;
  return run.value.stdout === "works\n" ? null : "a first try gave no answer";
}

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

/** A {@link Sandbox} over whatever builds its boxes. */
export function createBoxedSandbox(driver: string, build: BoxBuilder): Sandbox {
  const filter = seccompFilter() ?? Buffer.alloc(0);
  return {
    driver,
    async run(request, signal) {
      const program = writeProgram(request);
      if (!program.ok) return program;
      const { timeoutMs } = request;
      const interpreter = interpreterOf(request.language);
      const command = build(timeoutMs);
      return runBoxed({ command, program: program.value, filter, timeoutMs, interpreter }, signal);
    },
  };
}
