import { randomBytes } from "node:crypto";
import {
  fail,
  type Failure,
  ok,
  type Outcome,
  retryable,
} from "../../machines/contracts/domain/failure.ts";
import { driverWithoutBoundary } from "../../machines/contracts/ports/sandbox.ts";
import { bubblewrap } from "./bubblewrap.ts";
import { container, containerProblem, engineEnv, removeContainer } from "./container.ts";
import { saying } from "./files-out.ts";
import { findTool } from "./find-tool.ts";
import { filterLoader } from "./load-filter.ts";
import { removeLeftFolders } from "./owner.ts";
import { type Box, runBoxed } from "./run-boxed.ts";
import { seccompFilter } from "./seccomp.ts";
import { type BoxBuilder, unshare } from "./unshare.ts";
import { bareRun } from "./without-boundary.ts";

export interface Driver {
  /** As the configuration and the reports name it. */
  name: string;
  needs: string[];
  builder: () => BoxBuilder;
  /** A container engine starts it, and no process of ours is above it. */
  inContainer?: boolean;
  /** Nothing keeps what it runs from this user's files, processes and network. */
  isBare?: boolean;
  /** What else is missing. */
  problem?: () => Promise<Problem | null>;
}

/** Why a driver is not used. */
export interface Problem {
  /** As a person is told. */
  reason: string;
  /** It may be over by the next job: a full disk, a machine with too much to do, an engine that is being started. */
  passes: boolean;
}

/** What no waiting mends. */
export const lasting = (reason: string): Problem => ({ reason, passes: false });

/**
 * @param image the only one that containers are made of; null for none
 * @param withoutBoundary whether code may run as this user at all
 */
export function driversWith(image: string | null, withoutBoundary: boolean): Driver[] {
  return [
    { name: "bubblewrap", needs: ["bwrap", "prlimit"], builder: bubblewrap },
    {
      name: "unshare",
      needs: ["unshare", "setpriv", "chroot", "pivot_root", "mount", "prlimit"],
      builder: unshare,
      problem: async () =>
        filterLoader() === null
          ? lasting("neither perl nor python3 below /usr, one of which loads its seccomp filter")
          : null,
    },
    {
      name: "container",
      needs: [],
      builder: () => container(image ?? ""),
      inContainer: true,
      problem: () => containerProblem(image),
    },
    ...(withoutBoundary ? [bare] : []),
  ];
}

const bare: Driver = {
  name: driverWithoutBoundary,
  needs: ["setpriv", "prlimit"],
  builder: () => (timeoutMs) => bareRun(timeoutMs).command,
  isBare: true,
  problem: async () => {
    await removeLeftFolders();
    return null;
  },
};

/**
 * The command of one run, with what it takes to hear and to end it.
 *
 * @throws Error where it needs a folder and none can be made
 */
export function startOf(
  { builder, inContainer, isBare }: Pick<Driver, "builder" | "inContainer" | "isBare">,
  timeoutMs: number,
  residentBytes?: number,
): { mark: string } & Pick<Box, "command" | "engine" | "env" | "isBare" | "tidy"> {
  if (isBare === true) return { mark: "", isBare, ...bareRun(timeoutMs) };
  if (inContainer !== true) return { mark: "", command: builder()(timeoutMs) };
  const mark = randomBytes(12).toString("hex");
  const most = residentBytes === undefined ? {} : { residentBytes };
  const command = builder()(timeoutMs, { mark, ...most });
  const engine = { mark, env: engineEnv(), remove: () => removeContainer(mark) };
  return { mark, command, engine };
}

/** The same as a value: there may be no room for its folder. */
export function tryStart(
  ...words: Parameters<typeof startOf>
): Outcome<ReturnType<typeof startOf>> {
  try {
    return ok(startOf(...words));
  } catch (error) {
    return fail(retryable("unavailable", error instanceof Error ? error.message : String(error)));
  }
}

/** Why a driver does not work here at all, found by running something in it; null if it does. */
export async function driverProblem(driver: Driver): Promise<Problem | null> {
  const filter = seccompFilter();
  if (filter === null) return lasting(`there is no seccomp filter for ${process.arch}`);
  const absent = driver.needs.filter((tool) => findTool(tool) === null);
  if (absent.length > 0) return lasting(`${absent.join(", ")} not on the PATH`);
  const problem = (await driver.problem?.()) ?? null;
  if (problem !== null) return problem;
  const timeoutMs = 30_000;
  const started = tryStart(driver, timeoutMs);
  if (!started.ok) return told(started.failure);
  const { mark, ...start } = started.value;
  const program = `${saying(mark, "echo started")}; cd "$HOME" && echo works > .try && cat .try; rm -f .try`;
  const probe = { ...start, program, filter, timeoutMs, interpreter: "sh" };
  const run = await runBoxed(probe, new AbortController().signal);
  if (!run.ok) return told(run.failure);
  if (run.value.stdout === "works\n") return null;
  return run.value.timedOut
    ? { reason: `a first try took more than ${timeoutMs / 1_000} seconds`, passes: true }
    : lasting(`a first try gave no answer ${run.value.stderr.trim().slice(-200)}`.trim());
}

const told = ({ message, retryable: passes }: Failure): Problem => ({ reason: message, passes });
