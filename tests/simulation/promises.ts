import { digestOf } from "../../actors/step/approvals.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { StepRecord } from "../../machines/contracts/domain/record.ts";
import type { Crew } from "./crew.ts";
import type { Stage } from "./worker.ts";
import type { EffectCall } from "./witness.ts";

/** A promise that a history broke, and how. */
export interface Broken {
  promise: string;
  how: string;
}

interface Ending {
  cameToRest: boolean;
  didStop: boolean;
  /** Workers that were told to drain and have not. */
  late: string[];
}

interface Case extends Stage, Ending {
  records: ReadonlyMap<string, StepRecord | null>;
  stats: { length: number; pending: number };
  letters: readonly { reason: string; deliveries: number }[];
}

/** Nothing on the stream, nobody at work, and what is parked waits for a person. */
export async function isQuiet(stage: Stage, backend: StepBackend, crew: Crew): Promise<boolean> {
  if (stage.plane.underWay > 0 || (await backend.queue.stats()).length > 0) return false;
  if ([...crew.alive.values()].some(({ runtime }) => runtime.steps().length > 0)) return false;
  for (const { stepId, runId, kind } of stage.plan.steps) {
    if (kind === "nameless") continue;
    const record = await backend.store.find({ runId, stepId });
    if (!isAtRest(stage, stepId, record)) return false;
  }
  return true;
}

function isAtRest({ plane, world }: Stage, stepId: string, record: StepRecord | null): boolean {
  if (record?.phase === "reported") return true;
  if (record?.phase !== "parked") return false;
  const isSoon = record.wakeAt !== null && record.wakeAt < world.now() + 600_000;
  return !isSoon && plane.approvals.some((one) => one.stepId === stepId && plane.isOpen(one));
}

/** Reads and local searches: free to repeat, and so by anyone. */
const isFree = ({ name }: EffectCall) => name === "look" || name === "retrieve";
const when = ({ at, by }: { at: number; by: string }) => `${by} at ${(at / 1_000).toFixed(3)} s`;

/** Each promise with the ways in which a history broke it; none when it was kept. */
const promises: Readonly<Record<string, (of: Case) => string[]>> = {
  "every path ends once faults stop": ({ cameToRest, records, plane, stats }) =>
    cameToRest
      ? []
      : [
          `${stats.length} jobs on the stream; ${[...records]
            .filter(([, record]) => record?.phase !== "reported")
            .map(([stepId, record]) => `${stepId} is ${record?.phase ?? "unknown"}`)
            .join(", ")}; ${plane.approvals.map(({ id, status }) => `${id} ${status}`).join(", ")}`,
        ],

  "a worker that is stopped ends": ({ didStop }) => (didStop ? [] : ["it did not"]),

  "a drain ends": ({ late }) => late,

  "a step has exactly one accepted report, unless it waits for a person or its run was cancelled":
    ({ plan, plane, records, cameToRest }) =>
      plan.steps.flatMap(({ stepId, runId, kind }) => {
        if (kind === "nameless") return [];
        const taken = plane.steps.get(stepId)?.taken ?? 0;
        const waits = records.get(stepId)?.phase === "parked";
        const mayBeNone = waits || plane.cancelled.has(runId) || !cameToRest;
        return taken === 1 || (taken === 0 && mayBeNone) ? [] : [`${stepId} has ${taken}`];
      }),

  "a worker that lost its lease reports nothing": ({ witness }) =>
    witness.reports
      .filter(({ isStale }) => isStale)
      .filter(({ stepId, by, at }) => !witness.isJumped(stepId, by, at))
      .map((report) => `${report.stepId} ${report.status} by ${when(report)}`),

  "an unsafe effect runs again only after a person granted the repeat": ({
    witness,
    plane,
    plan,
  }) =>
    plan.steps.flatMap(({ stepId }) => {
      const calls = witness.effects.filter(
        (call) => call.stepId === stepId && call.isUnsafe && call.mayHaveRun,
      );
      return calls.slice(1).flatMap((call, index) => {
        const grants = plane.approvals.filter(
          ({ stepId: of, ask, status, answeredAt }) =>
            of === stepId &&
            ask.action.kind === "repeat" &&
            answeredAt !== null &&
            answeredAt <= call.at &&
            status !== "rejected",
        );
        const how = `${stepId} ran ${index + 2} times with ${grants.length} grants: ${when(call)}`;
        return grants.length > index ? [] : [how];
      });
    }),

  "nothing executes without an allowing verdict or a grant for its digest": ({
    witness,
    plane,
    steps,
  }) =>
    witness.effects.flatMap((call) => {
      const { name, stepId } = call;
      if (name !== "pay" && name !== "put" && name !== "look") return [];
      if (call.kind !== "loop" && plane.allowed.has(stepId)) return [];
      const action = { kind: "tool", name, input: { ref: stepId } };
      const wanted = digestOf({ runId: steps.get(stepId)?.runId, stepId, action });
      const isGranted = plane.approvals.some(
        ({ ask, answeredAt }) =>
          ask.digest === wanted && answeredAt !== null && answeredAt <= call.at,
      );
      return isGranted ? [] : [`${name} of ${stepId} by ${when(call)}`];
    }),

  "a denied step, or one whose question was refused, does nothing": ({ witness, plane, steps }) =>
    witness.effects.flatMap((call) => {
      if (call.name === "model") return [];
      const isDenied = call.kind !== "loop" && steps.get(call.stepId)?.verdict === "deny";
      const isTool = call.kind === "pay" || call.kind === "put" || call.kind === "look";
      const isRefused = plane.approvals.some(
        ({ stepId, status }) => stepId === call.stepId && status === "rejected",
      );
      const refusedAt = plane.approvals.find(
        ({ stepId, status }) => stepId === call.stepId && status === "rejected",
      )?.answeredAt;
      const isLate = isRefused && refusedAt != null && call.askedAt > refusedAt;
      return (isTool && isDenied) || isLate ? [`${call.name} of ${call.stepId}`] : [];
    }),

  "a grant is used once": ({ witness }) =>
    [...witness.spent]
      .filter(([, effects]) => effects.size > 1)
      .map(([grant, effects]) => `${grant} by ${[...effects].join(" and ")}`),

  "a worker that lost its lease does nothing more that costs": ({ witness }) =>
    witness.effects
      .filter((call) => call.isStale && !isFree(call))
      .filter(({ stepId, by, at }) => !witness.isJumped(stepId, by, at))
      .map((call) => `${call.name} of ${call.stepId} by ${when(call)}`),

  "a completed effect is never repeated": ({ witness }) =>
    witness.effects.flatMap((call) => {
      if (isFree(call)) return [];
      const { stepId, name, key, askedAt } = call;
      const effect =
        key === null
          ? [...witness.completed].find(([of]) =>
              of.startsWith(name === "sandbox" ? `${stepId} sandbox#` : `${stepId} tool:${name}#`),
            )?.[1]
          : witness.completed.get(`${stepId} ${key.split("/").slice(2).join("/")}`);
      return effect !== undefined && effect < askedAt
        ? [`${name} of ${stepId} by ${when(call)}`]
        : [];
    }),

  "what is reported completed was done": ({ witness }) =>
    witness.reports
      .filter(({ status, reception }) => status === "completed" && reception === "accepted")
      .flatMap(({ stepId }) => {
        const isDone = witness.effects.some((call) => call.stepId === stepId && call.mayHaveRun);
        const isApproval = !witness.effects.some((call) => call.stepId === stepId);
        return isDone || isApproval ? [] : [stepId];
      }),

  "a failure is reported as what it was": ({ witness, steps, plane }) =>
    witness.reports.flatMap(({ stepId, failure, reception }) => {
      if (reception !== "accepted" || failure === null) return [];
      const step = steps.get(stepId);
      const isNever = ["internal", "corrupt_record", "conflict", "not_found"].includes(failure);
      const asked = plane.approvals.filter((approval) => approval.stepId === stepId);
      const isWrong =
        (failure === "policy_denied" && step?.verdict !== "deny") ||
        (failure === "approval_rejected" && !asked.some(({ status }) => status === "rejected")) ||
        (failure === "approval_expired" && !asked.some(({ expiresAt }) => expiresAt !== null));
      return isNever || isWrong ? [`${stepId} failed as ${failure}`] : [];
    }),

  "a step is not taken from a worker that nothing disturbed": ({ witness }) => witness.robbed,

  "capacity is never exceeded": ({ witness }) => [...new Set(witness.overfull)],

  "the stream is empty at the end": ({ stats, cameToRest }) =>
    stats.length === 0 || !cameToRest ? [] : [`${stats.length} jobs are left`],

  "a dead letter has a reason that the history explains": ({ letters, plan, weather }) => {
    const unreadable = plan.steps.filter(({ kind }) => kind === "nameless" || kind === "invalid");
    const most = unreadable.length + (weather.counts["duplicate"] ?? 0) * unreadable.length;
    const strange = letters.filter(({ reason, deliveries }) =>
      reason.startsWith("delivered ") ? deliveries <= plan.maxDeliveries : false,
    );
    const others = letters.filter(({ reason }) => !reason.startsWith("delivered "));
    return [
      ...strange.map(({ reason, deliveries }) => `"${reason}" after ${deliveries} deliveries`),
      ...(others.length > most ? others.map(({ reason }) => reason) : []),
    ];
  },

  "nothing unexpected is thrown": ({ witness }) => witness.unexpected,
};

/** What a finished history broke. */
export async function brokenPromises(
  stage: Stage,
  backend: StepBackend,
  ending: Ending,
): Promise<Broken[]> {
  const records = new Map<string, StepRecord | null>();
  for (const { stepId, runId } of stage.plan.steps) {
    records.set(stepId, await backend.store.find({ runId, stepId }));
  }
  const [stats, letters] = [await backend.queue.stats(), await backend.queue.deadLetters(1_000)];
  const all: Case = { ...stage, ...ending, records, stats, letters };
  return Object.entries(promises).flatMap(([promise, broken]) =>
    broken(all).map((how) => ({ promise, how })),
  );
}
