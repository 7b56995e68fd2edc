import type { EffectCall } from "../witness.ts";
import { type History, isAbout, isFree, openedBefore, type Promises, when } from "./history.ts";

/** Failures that say something about our neighbours and nothing about the step. */
const notTheSteps = new Set(
  "policy_unavailable unauthorized misconfigured rate_limited refused conflict corrupt_record internal".split(
    " ",
  ),
);

/** Failures that a history explains by something planned for that step. */
function isExplained(of: History, stepId: string, failure: string): boolean {
  const { faults, witness, plan } = of;
  const step = of.steps.get(stepId);
  const isStruck = (kind: string) => (faults.counts[kind] ?? 0) > 0;
  switch (failure) {
    // A neighbour that throws is a fault of code, and the step says so.
    case "internal":
      return isStruck("neighbour-throws");
    case "refused":
      return isStruck("result-refused") || faults.unusable.has(stepId);
    case "corrupt_record":
      return faults.unusable.has(stepId);
    case "not_found":
      return isStruck("tools-changed") || step?.kind === "stray";
    case "policy_denied":
      return (
        step?.verdict === "deny" ||
        step?.deniedAt !== null ||
        step.kind === "stray" ||
        plan.denied !== null ||
        plan.ownPolicy !== null ||
        isStruck("tools-changed")
      );
    case "approval_rejected":
      return (
        witness.isForgotten(stepId) ||
        of.plane.approvals.some((one) => one.stepId === stepId && one.status === "rejected")
      );
    default:
      return !notTheSteps.has(failure);
  }
}

/** The call that made what the step would report, where its work was done. */
function lastPaid({ witness }: History, stepId: string): EffectCall | undefined {
  const done = [...witness.completed.keys()].filter((effect) => effect.startsWith(`${stepId} `));
  // One that a pause held back is nobody's any more.
  const calls = witness.effects.filter(
    (call) => call.stepId === stepId && !isFree(call) && call.at - call.askedAt < 1_000,
  );
  const last = calls.at(-1);
  const wanted = last?.kind === "pair" ? 6 : last?.kind === "loop" ? 3 : 1;
  return last?.how === "ok" && done.length >= wanted ? last : undefined;
}

/** Steps whose end may rightly leave a result behind. */
function mayDrop({ plan, plane, witness }: History, stepId: string, runId: string): boolean {
  const isRejected = plane.approvals.some(
    (approval) => approval.stepId === stepId && approval.status !== "approved",
  );
  const isRetried = witness.retried.has(stepId);
  const isLate = plan.totalMs !== null;
  return (
    plane.cancelled.has(runId) || isRejected || isRetried || isLate || witness.isForgotten(stepId)
  );
}

/** Trouble of a neighbour, passing or ours, is not the job's fault. */
export const trouble: Promises = {
  "a failure is reported as what it was, and a neighbour's trouble fails no step": (of) =>
    of.witness.reports.flatMap(({ stepId, failure, reception }) =>
      reception !== "accepted" || failure === null || isExplained(of, stepId, failure)
        ? []
        : [`${stepId} failed as ${failure}`],
    ),

  "what was answered is neither paid twice nor asked about": (of) =>
    of.witness.effects.flatMap((call) => {
      const { stepId, name, key, by, answeredAt, how } = call;
      if (answeredAt === null || how !== "ok" || isFree(call)) return [];
      const isSame = (other: EffectCall) =>
        other.stepId === stepId &&
        other.name === name &&
        other.key === key &&
        other.call === call.call;
      const again = of.witness.effects.find((other) => isSame(other) && other.askedAt > answeredAt);
      // A store that forgot a step's opening lets two workers have it: what is not unsafe may then run in both.
      if (of.witness.isForgotten(stepId)) return [];
      const openedAt = openedBefore(of, call);
      if (again !== undefined && !of.witness.isDisturbed(by, openedAt, again.askedAt)) {
        return [`${name} of ${stepId} by ${when(call)}, and again by ${when(again)}`];
      }
      const asked = of.plane.approvals.find(
        ({ stepId: ofStep, actions, askedAt }) =>
          ofStep === stepId &&
          actions.some((action) => action.kind === "repeat" && isAbout(action, call.call)) &&
          askedAt > answeredAt,
      );
      return name === "pay" &&
        asked !== undefined &&
        !of.witness.isDisturbed(by, openedAt, asked.askedAt)
        ? [`${name} of ${stepId} was answered to ${by} and then asked about`]
        : [];
    }),

  "a delivery is counted only for what a worker died of": (of) => {
    const tooOften = of.witness.reports.filter(({ failure }) => failure === "delivered_too_often");
    const most = of.witness.disturbances.length + of.witness.jumps.length;
    return tooOften.flatMap(({ stepId }) =>
      most >= of.plan.maxDeliveries
        ? []
        : [`${stepId} was delivered too often, and only ${most} things disturbed workers`],
    );
  },

  "a result that was paid for is at the control plane or in a dead letter": (of) =>
    of.plan.steps.flatMap(({ stepId, runId }) => {
      const paid = lastPaid(of, stepId);
      const step = of.plane.steps.get(stepId);
      if (paid === undefined || !of.cameToRest || mayDrop(of, stepId, runId)) return [];
      const letter = JSON.stringify(of.letterOf.get(stepId) ?? null);
      const isKept = [letter, ...(step?.results ?? [])].some((text) => text.includes(paid.token));
      // A long journal line stands in the artifacts.
      const isLong = letter.includes("artifact");
      return isKept || isLong ? [] : [`${paid.token}, paid by ${when(paid)}`];
    }),

  "a dead letter has a reason that the history explains": (of) =>
    of.letters.flatMap(({ reason, deliveries, fields }) => {
      const stepId = [...of.letterOf].find(([, letter]) => letter.fields === fields)?.[0];
      if (stepId === undefined) return [];
      const kind = of.steps.get(stepId)?.kind;
      const isStruck = of.faults.counts["result-refused"] ?? 0;
      const isPlanned = kind === "invalid" || kind === "nameless" || of.faults.unusable.has(stepId);
      const isWorn = deliveries > of.plan.maxDeliveries;
      return isPlanned || isWorn || isStruck > 0
        ? []
        : [`${stepId} after ${deliveries} deliveries: "${reason}"`];
    }),
};

/** What ended at a control plane that guards nothing stays so. */
export const endedRuns: Promises = {
  "what has ended at a control plane that guards nothing stays as it ended": (of) =>
    of.plan.steps.flatMap(({ stepId, runId }) => {
      const run = of.plane.runs.get(runId);
      if (of.plan.rules !== "ferrumdeck" || run?.ended == null || run.changes.length === 0)
        return [];
      const { as, at } = run.ended;
      const late = of.witness.reports.filter(
        (report) => report.stepId === stepId && report.at > at && report.reception === "accepted",
      );
      const wrong = late.filter((report) => {
        // The first result of work that was under way when the run ended may cross the end.
        const opened = of.witness.openings.get(stepId)?.findLast((one) => one.at <= report.askedAt);
        const isUnderWay = (opened?.at ?? 0) <= at && report.failure !== "cancelled";
        const isHeldBack = report.at - report.askedAt > 1_000;
        const results = of.witness.reports.filter(
          (one) => one.stepId === stepId && one.status !== "waiting_approval",
        );
        const isFirst = results[0]?.at === report.at;
        return !isHeldBack && !(isFirst && isUnderWay);
      });
      return wrong.map(
        (report) =>
          `${runId} was ${as} and became ${run.changes.join(", ")}: ${report.status} ${report.failure ?? ""} by ${when(report)}`,
      );
    }),
};

/** The control plane's clock decides about expiry, the store's about timers, no worker's about anything. */
export const clocks: Promises = {
  "no worker's clock ends a step": (of) =>
    of.witness.reports.flatMap(({ stepId, failure, reception, at }) => {
      if (reception !== "accepted") return [];
      if (failure === "approval_expired") {
        const asked = of.plane.approvals.filter((approval) => approval.stepId === stepId);
        // FerrumDeck's questions end by the worker's own deadline, which is a span, not a date.
        const isDue =
          of.plan.rules === "embedded"
            ? asked.some(({ status }) => status === "expired")
            : asked.some(({ askedAt }) => at - askedAt >= 29_000);
        return isDue || of.witness.jumps.length > 0
          ? []
          : [`${stepId} expired by ${when({ at, by: "" })}`];
      }
      const { totalMs } = of.plan;
      const isTotal = failure === "timeout" && totalMs !== null;
      const published = of.steps.get(stepId)?.at ?? 0;
      const isWorkTooLong = of.witness.effects.some(
        (call) => call.stepId === stepId && call.askedAt < at,
      );
      return isTotal && !isWorkTooLong && at - published < totalMs && of.witness.jumps.length === 0
        ? [`${stepId} timed out after ${Math.round(at - published)} of ${totalMs} ms`]
        : [];
    }),
};
