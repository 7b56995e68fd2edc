import type { AirlockRules } from "./settings.ts";

/** A call that was looked at. */
export interface PastCall {
  /** Epoch milliseconds. */
  at: number;
  /** Of tool and arguments. */
  digest: string;
  /** The caller's own name of the call, so that one which is checked again counts once; null where it has none. */
  id: string | null;
  cents: number;
}

export const usualPace = { windowMs: 10_000, maxCalls: 120, maxCostCents: 100 } as const;
export const usualLoop = { threshold: 5, among: 6 } as const;

const mostKept = 1_100;

export interface PaceFinding {
  rule: "velocity" | "loop";
  violation: "velocitybreach" | "loopdetection";
  score: number;
  details: string;
}

/** The calls with one more; only those that some later look needs. */
export function withCall(
  past: readonly PastCall[],
  call: PastCall,
  rules: AirlockRules,
): PastCall[] {
  if (call.id !== null && past.some(({ id }) => id === call.id)) return [...past];
  const { windowMs } = { ...usualPace, ...rules.velocity };
  const { among } = { ...usualLoop, ...rules.loop };
  const calls = [...past, call];
  return calls
    .filter(({ at }, index) => at > call.at - windowMs || index >= calls.length - among)
    .slice(-mostKept);
}

/** What is wrong with the pace of a run whose last call is under way. */
export function problemsOfPace(
  calls: readonly PastCall[],
  now: number,
  rules: AirlockRules,
): PaceFinding[] {
  const { windowMs, maxCalls, maxCostCents } = { ...usualPace, ...rules.velocity };
  const { threshold, among } = { ...usualLoop, ...rules.loop };
  const recent = calls.filter(({ at }) => at > now - windowMs);
  const cents = recent.reduce((sum, call) => sum + call.cents, 0);
  const last = calls.at(-1);
  const alike = calls.slice(-among).filter(({ digest }) => digest === last?.digest).length;
  const window = `within ${windowMs / 1_000} s`;
  const problems: PaceFinding[] = [];
  const breach = (details: string) =>
    problems.push({ rule: "velocity", violation: "velocitybreach", score: 85, details });
  if (recent.length > maxCalls) {
    breach(`the run made ${recent.length} calls ${window}, at most ${maxCalls} are expected`);
  }
  if (cents > maxCostCents) {
    breach(`the run's calls cost ${cents} cents ${window}, at most ${maxCostCents} are expected`);
  }
  if (alike >= threshold) {
    const details = `the same call was made ${alike} times among the last ${among} of the run`;
    problems.push({ rule: "loop", violation: "loopdetection", score: 80, details });
  }
  return problems;
}
