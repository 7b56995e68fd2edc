import { Chance } from "./chance.ts";
import {
  type CallPlan,
  type FaultPlan,
  type PersonPlan,
  type Plan,
  planeCalls,
  type StepPlan,
  strikable,
  type Strike,
} from "./plan.ts";

const publishedUntil = 10_000;
const faultsUntil = 20_000;

/** The history that a seed stands for. */
export function drawPlan(seed: number): Plan {
  const chance = new Chance(Math.imul(seed, 0x9e3779b1));
  const workers = chance.between(2, 3);
  const leaseMs = chance.pick([3_000, 4_000, 6_000]);
  const steps = Array.from({ length: chance.between(4, 10) }, (_, index) =>
    drawStep(chance, index),
  );
  const faults = Array.from({ length: chance.between(1, 9) }, () =>
    drawFault(chance, { workers, leaseMs, steps }),
  );
  return {
    seed,
    workers,
    leaseMs,
    capacity: chance.between(1, 4),
    maxDeliveries: chance.pick([3, 5, 10]),
    inDoubt: chance.maybe(0.75) ? "ask" : "fail",
    totalMs: chance.maybe(0.15) ? chance.between(8_000, 40_000) : null,
    events: chance.maybe(0.5),
    timersFirst: chance.maybe(0.5),
    steps,
    faults: faults.sort((a, b) => a.at - b.at),
    healAt: faultsUntil + 4_000,
  };
}

function drawStep(chance: Chance, index: number): StepPlan {
  const kind = chance.weigh({
    pay: 6,
    put: 2,
    look: 1,
    model: 2,
    sandbox: 1,
    retrieval: 1,
    approval: 1,
    loop: 3,
    invalid: 0.3,
    nameless: 0.3,
  });
  const person = drawPerson(chance, { grant: 6, reject: 1, ignore: 1 });
  const expiresMs = chance.maybe(0.6) ? chance.between(1_000, 15_000) : null;
  // A race on purpose: the answer comes within a millisecond of the end.
  if (expiresMs !== null && chance.maybe(0.25)) person.afterMs = expiresMs + chance.between(-1, 1);
  return {
    stepId: `step-${index}`,
    runId: `run-${chance.between(0, 3)}`,
    kind,
    at: chance.between(0, publishedUntil),
    verdict: chance.weigh({ allow: 4, ask: 4, deny: 1 }),
    calls: Array.from({ length: 4 }, () => drawCall(chance)),
    person,
    repeatPerson: drawPerson(chance, { grant: 8, reject: 1, ignore: 0.5 }),
    expiresMs,
  };
}

function drawPerson(chance: Chance, answers: Record<PersonPlan["answer"], number>): PersonPlan {
  return { answer: chance.weigh(answers), afterMs: chance.between(0, 6_000) };
}

function drawCall(chance: Chance): CallPlan {
  const how = chance.weigh({ ok: 12, "in-doubt": 4, unavailable: 3, failed: 1 });
  const isSlow = chance.maybe(0.12);
  return { how, takesMs: isSlow ? chance.between(1_000, 12_000) : chance.between(5, 300) };
}

function drawFault(
  chance: Chance,
  { workers, leaseMs, steps }: Pick<Plan, "workers" | "leaseMs" | "steps">,
): FaultPlan {
  const at = chance.between(0, faultsUntil);
  const worker = chance.between(0, workers - 1);
  const call = chance.pick(planeCalls);
  const [step] = [steps[chance.between(0, steps.length - 1)]];
  const kind = chance.weigh({
    crash: 6,
    pause: 6,
    drain: 2,
    "control-plane-away": 1,
    "store-away": 1.5,
    "store-answer-lost": 2,
    "request-lost": 1,
    "answer-lost": 2,
    "request-late": 1,
    "answer-late": 1,
    throttled: 1,
    duplicate: 2,
    cancel: 1.5,
    "clock-jump": 1,
  });
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
      return { kind, at, forMs: chance.between(200, 12_000) };
    case "store-away":
      return {
        kind,
        at,
        worker: chance.maybe(0.5) ? worker : null,
        forMs: chance.between(50, 8_000),
      };
    case "store-answer-lost":
      return { kind, at, worker };
    case "request-lost":
    case "answer-lost":
      return { kind, at, call };
    case "request-late":
    case "answer-late":
      return { kind, at, call, byMs: chance.between(200, 10_000) };
    case "throttled":
      return { kind, at, call, retryAfterMs: chance.between(100, 6_000) };
    case "duplicate":
      return { kind, at, stepId: step?.stepId ?? "" };
    case "cancel":
      return { kind, at, runId: step?.runId ?? "" };
    case "clock-jump":
      return { kind, at, byMs: chance.between(500, 30_000) };
  }
}

function drawStrike(chance: Chance): Strike | null {
  if (chance.maybe(0.2)) return null;
  return { call: chance.pick(strikable), side: chance.pick(["before", "after"]) };
}
