import { Chance } from "./chance.ts";
import { drawFault, faultsUntil } from "./draw-fault.ts";
import type { CallPlan, PersonPlan, Plan, StepPlan } from "./plan.ts";

const publishedUntil = 10_000;
const dayMs = 24 * 60 * 60 * 1_000;

/** The history that a seed stands for. */
export function drawPlan(seed: number): Plan {
  const chance = new Chance(Math.imul(seed, 0x9e3779b1));
  const rules = chance.weigh({ embedded: 2, ferrumdeck: 1 });
  const workers = chance.between(2, 3);
  const leaseMs = chance.pick([3_000, 4_000, 6_000]);
  const steps = Array.from({ length: chance.between(4, 10) }, (_, index) =>
    drawStep(chance, index, rules),
  );
  const faults = Array.from({ length: chance.between(1, 10) }, () =>
    drawFault(chance, { rules, workers, leaseMs, steps }),
  );
  // A letter that holds a result is worth a retry.
  if (faults.some(({ kind }) => kind === "result-refused") && chance.maybe(0.7)) {
    faults.push({ kind: "letters-retried", at: faultsUntil + chance.between(5_000, 40_000) });
  }
  return {
    seed,
    rules,
    workers,
    leaseMs,
    capacity: chance.between(1, 4),
    maxDeliveries: chance.pick([2, 3, 5, 10]),
    inDoubt: chance.maybe(0.75) ? "ask" : "fail",
    totalMs: chance.maybe(0.15) ? chance.between(8_000, 40_000) : null,
    events: rules === "embedded" && chance.maybe(0.5),
    timersFirst: chance.maybe(0.5),
    clocks: drawClocks(chance, workers + 1),
    denied: chance.maybe(0.3)
      ? {
          tool: chance.pick(["pay", "put"]),
          from: chance.between(0, faultsUntil),
          spelling: chance.pick(["bare", "full"]),
        }
      : null,
    ownPolicy: chance.maybe(0.1) ? chance.pick(["unknown word", "throws"]) : null,
    steps,
    faults: faults.sort((a, b) => a.at - b.at),
    healAt: faultsUntil + 4_000,
  };
}

function drawClocks(chance: Chance, workers: number): number[] {
  const most = chance.maybe(0.5) ? 0 : chance.pick([5 * 60_000, dayMs]);
  return Array.from({ length: workers }, () => chance.between(-most, most));
}

function drawStep(chance: Chance, index: number, rules: Plan["rules"]): StepPlan {
  const kind = chance.weigh({
    pay: 6,
    put: 2,
    look: 1,
    stray: 0.3,
    model: 2,
    sandbox: 1,
    retrieval: 1,
    approval: 1,
    loop: 2,
    pair: 3,
    invalid: 0.3,
    nameless: 0.3,
  });
  const person = drawPerson(chance, { grant: 6, reject: 1, ignore: 1 });
  const expiresMs = chance.maybe(0.6) ? chance.between(1_000, 15_000) : null;
  // A race on purpose: the answer comes within a millisecond of the end.
  if (expiresMs !== null && chance.maybe(0.25)) person.afterMs = expiresMs + chance.between(-1, 1);
  return {
    stepId: `step-${index}`,
    // FerrumDeck's runs have one step each, whose result ends the run.
    runId: rules === "ferrumdeck" ? `run-${index}` : `run-${chance.between(0, 3)}`,
    kind,
    at: chance.between(0, publishedUntil),
    verdict: chance.weigh({ allow: 4, ask: 4, deny: 1 }),
    judged: chance.pick(["second", "both"]),
    deniedAt: chance.maybe(0.12) ? chance.between(0, faultsUntil) : null,
    spelling: chance.pick(["bare", "full"]),
    length: chance.maybe(0.15) ? chance.pick([300_000, 700_000]) : 10,
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
