import { resolve } from "node:path";
import type { SuiteChanges } from "../../evals/suite.ts";
import type { Context } from "../command.ts";
import { CliError } from "../output/errors.ts";

type Flags = Context["invocation"]["flags"];

/** What the command line changes of a suite. @throws CliError */
export function readChanges({ invocation, folder }: Context): SuiteChanges {
  const { flags } = invocation;
  const words = (flag: string) => {
    const given = flags[flag];
    return typeof given === "string" ? given.split(",").map((word) => word.trim()) : undefined;
  };
  const whole = (flag: string, most: number) => readWhole(flags, flag, most);
  const settings = {
    runs: whole("runs", 1_000),
    max_parallel: whole("parallel", 1_000),
    timeout_ms: whole("timeout", 86_400_000),
  };
  const filter = {
    categories: words("category"),
    tags: words("tag"),
    difficulty: words("difficulty"),
    ids: words("id"),
  };
  const maxTasks = whole("max-tasks", 1_000_000);
  const { dataset, agent } = flags;
  return {
    filter: present(filter),
    settings: present(settings),
    ...(maxTasks === undefined ? {} : { maxTasks }),
    ...(typeof dataset === "string" ? { dataset: resolve(folder, dataset) } : {}),
    ...(typeof agent === "string" ? { agent } : {}),
  };
}

/** Only what is there. */
function present<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

/** `--max-cost` in micro-dollars, `--max-time` in milliseconds. @throws CliError */
export function readLimits(flags: Flags): { maxCost: number | null; maxTimeMs: number | null } {
  const scaled = (flag: string, what: string, scale: number): number | null => {
    const text = flags[flag];
    if (typeof text !== "string") return null;
    const value = /^\d+(?:\.\d+)?$/u.test(text) ? Math.round(Number(text) * scale) : 0;
    if (value >= 1 && value <= 2 ** 31 - 1) return value;
    throw new CliError(2, `--${flag}: expected ${what} above 0, not ${JSON.stringify(text)}`);
  };
  return {
    maxCost: scaled("max-cost", "dollars", 1_000_000),
    maxTimeMs: scaled("max-time", "seconds", 1_000),
  };
}

function readWhole(flags: Flags, flag: string, most: number): number | undefined {
  const text = flags[flag];
  if (typeof text !== "string") return undefined;
  const value = /^\d+$/u.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= most) return value;
  const expected = `a whole number from 1 to ${most}`;
  throw new CliError(2, `--${flag}: expected ${expected}, not ${JSON.stringify(text)}`);
}
