import type { Chance } from "./chance.ts";
import {
  agentCalls,
  type FaultPlan,
  misanswers,
  type Plan,
  planeCalls,
  strikable,
  type Strike,
  throwing,
} from "./plan.ts";

export const faultsUntil = 20_000;
/** Faults that wait for a step are armed early, or they would seldom meet it. */
const soon = 6_000;

/** How often each kind is drawn, beside the others. */
const weights = {
  crash: 6,
  pause: 6,
  drain: 2,
  "control-plane-away": 1,
  "key-refused": 1.5,
  "proxy-answers": 1.5,
  misanswered: 4,
  "health-slow": 1,
  "result-refused": 2,
  "store-away": 1.5,
  "store-full": 2,
  "store-read-only": 1.5,
  "store-refusing": 1,
  "store-answer-lost": 2,
  "record-unusable": 1,
  "entry-vanished": 4,
  "writes-lost": 1,
  "artifacts-refusing": 1.5,
  "request-lost": 1,
  "answer-lost": 2,
  "request-late": 1,
  "answer-late": 1,
  throttled: 1,
  "neighbour-throws": 2,
  duplicate: 2,
  cancel: 1.5,
  "cancel-parked": 3,
  "tools-changed": 1.5,
  "tools-away": 1,
  "turn-cut": 4,
  "letters-retried": 3,
  "clock-jump": 1,
} as const satisfies Record<FaultPlan["kind"], number>;

/** One fault that may come in such a history. */
export function drawFault(
  chance: Chance,
  { rules, workers, leaseMs, steps }: Pick<Plan, "rules" | "workers" | "leaseMs" | "steps">,
): FaultPlan {
  const at = chance.between(0, faultsUntil);
  const worker = chance.between(0, workers - 1);
  const oneOrAll = chance.maybe(0.5) ? worker : null;
  const asked = chance.maybe(0.4) ? "report" : chance.pick(planeCalls);
  const [first, ...others] = steps.map(({ stepId, runId }) => ({ stepId, runId }));
  const { stepId, runId } = chance.pick([first ?? { stepId: "", runId: "" }, ...others]);
  const agents = steps.filter(({ kind: of }) => of === "loop" || of === "pair");
  const paying = steps.filter(
    (step) => step.kind === "pay" || step.kind === "put" || agents.includes(step),
  );
  const kind = chance.weigh(weights);
  switch (kind) {
    case "crash":
      return { kind, at, worker, on: drawStrike(chance), backAfterMs: chance.between(10, 8_000) };
    case "pause": {
      const forMs = Math.round(leaseMs * (0.3 + 3 * chance.next()));
      return { kind, at, worker, on: drawStrike(chance), forMs };
    }
    case "drain": {
      const graceMs = chance.between(0, 4_000);
      return { kind, at, worker, graceMs, backAfterMs: chance.between(10, 4_000) };
    }
    case "control-plane-away":
    case "key-refused":
      return { kind, at, forMs: chance.between(200, 12_000) };
    case "proxy-answers":
      return { kind, at, forMs: chance.between(200, 8_000), how: chance.pick(misanswers) };
    case "misanswered": {
      const reached = rules === "embedded" && chance.maybe(0.3);
      return { kind, at, call: asked, how: chance.pick(misanswers), reached };
    }
    case "health-slow":
      return { kind, at, forMs: chance.between(1_000, 12_000), byMs: chance.between(500, 6_000) };
    case "result-refused": {
      const of = paying[chance.between(0, paying.length - 1)]?.stepId ?? stepId;
      return { kind, at: chance.between(0, soon), stepId: of };
    }
    case "record-unusable":
      return { kind, at: chance.between(0, soon), stepId };
    case "entry-vanished":
    case "duplicate":
      return { kind, at, stepId };
    case "store-away":
    case "store-read-only":
    case "store-refusing":
      return { kind, at, worker: oneOrAll, forMs: chance.between(50, 8_000) };
    case "store-full":
      return { kind, at, forMs: chance.between(50, 10_000) };
    case "store-answer-lost":
      return { kind, at, worker };
    case "writes-lost":
      // What FerrumDeck enqueued and a store then forgot, nobody would ever enqueue again.
      if (rules === "ferrumdeck") return { kind: "entry-vanished", at, stepId };
      return { kind, at, byMs: chance.between(1, 1_000) };
    case "artifacts-refusing": {
      const trouble = chance.pick(["passing", "ours"] as const);
      return { kind, at, trouble, forMs: chance.between(200, 12_000) };
    }
    case "request-lost":
    case "answer-lost":
      return { kind, at, call: asked };
    case "request-late":
    case "answer-late":
      return { kind, at, call: asked, byMs: chance.between(200, 10_000) };
    case "throttled":
      return { kind, at, call: asked, retryAfterMs: chance.between(100, 6_000) };
    case "neighbour-throws":
      return { kind, at: chance.between(0, soon), call: chance.pick(throwing) };
    case "cancel":
      return { kind, at, runId };
    case "cancel-parked": {
      const waiting = steps.filter(
        ({ kind: of, verdict }) => verdict === "ask" || of === "loop" || of === "pair",
      );
      const of = waiting[chance.between(0, waiting.length - 1)]?.stepId ?? stepId;
      const after = chance.pick(["asked", "approved"] as const);
      const byMs = chance.between(0, 400);
      return { kind, at: chance.between(0, soon), stepId: of, after, byMs };
    }
    case "tools-changed":
      return { kind, at, what: chance.pick(["server", "schema"] as const) };
    case "tools-away":
      return { kind, at, forMs: chance.between(200, 12_000) };
    case "turn-cut": {
      const of = agents[chance.between(0, agents.length - 1)];
      const call = of?.kind === "loop" ? "1.1" : chance.pick(agentCalls);
      const tools = chance.pick(["server", "schema", "away", null] as const);
      const backAfterMs = chance.between(10, 8_000);
      return {
        kind,
        at: chance.between(0, soon),
        stepId: of?.stepId ?? stepId,
        call,
        tools,
        backAfterMs,
      };
    }
    case "letters-retried":
      // Half of them when all is well again, and what will become a letter has become one.
      return { kind, at: chance.maybe(0.5) ? at : faultsUntil + chance.between(5_000, 40_000) };
    case "clock-jump":
      return { kind, at, byMs: chance.between(500, 30_000) };
  }
}

function drawStrike(chance: Chance): Strike | null {
  if (chance.maybe(0.2)) return null;
  return { call: chance.pick(strikable), side: chance.pick(["before", "after"]) };
}
