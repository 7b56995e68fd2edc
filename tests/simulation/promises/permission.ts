import type { EffectCall } from "../witness.ts";
import { type History, isFree, isTool, openedBefore, type Promises, when } from "./history.ts";

const told = (call: EffectCall) => `${call.name} of ${call.stepId} by ${when(call)}`;

/** Approvals of this very call that a person gave before it. */
function approvalsOf({ plane, plan }: History, call: EffectCall) {
  const isAny = plan.rules === "ferrumdeck";
  return plane.approvals.filter(({ stepId, action, answeredAt, status }) => {
    const isInTime = answeredAt !== null && answeredAt <= call.at && status !== "rejected";
    if (stepId !== call.stepId || !isInTime) return false;
    // FerrumDeck is told no arguments; a yes to a repeat is a yes to the call as well.
    if (action.kind === "repeat" || isAny) return true;
    const isName = action.name === call.name || action.name.endsWith(`.${call.name}`);
    return action.kind === "tool" && isName && action.input?.["ref"] === stepId;
  });
}

/** A permission is used where it holds, not where it was given. */
export const permission: Promises = {
  "nothing executes without an allowing verdict or a grant for exactly that": (of) =>
    of.witness.effects.flatMap((call) => {
      if (!isTool(call)) return [];
      if (of.plane.allowed.has(call.stepId)) return [];
      return approvalsOf(of, call).length > 0 ? [] : [told(call)];
    }),

  "a denied step, or one whose question was refused, does nothing": ({ witness, plane, steps }) =>
    witness.effects.flatMap((call) => {
      if (call.name === "model") return [];
      const isDenied = steps.get(call.stepId)?.verdict === "deny";
      const refused = plane.approvals.find(
        ({ stepId, status }) => stepId === call.stepId && status === "rejected",
      );
      const refusedAt = refused?.answeredAt ?? Number.POSITIVE_INFINITY;
      return (isTool(call) && isDenied) || call.askedAt > refusedAt ? [told(call)] : [];
    }),

  "nothing runs that is denied now: by the worker's list, its own policy, or the control plane's": (
    of,
  ) =>
    of.witness.effects.flatMap((call) => {
      if (!isTool(call)) return [];
      const { name, stepId, by } = call;
      const deniedAt = of.steps.get(stepId)?.deniedAt ?? null;
      const isDenied =
        name === "vault.look" ||
        (of.plan.ownPolicy !== null && name === "put") ||
        of.witness.denied.get(by) === name ||
        (deniedAt !== null && openedBefore(of, call) > deniedAt);
      return isDenied ? [told(call)] : [];
    }),

  "no tool is called on a verdict from before its step's last wait": ({ witness, ...of }) =>
    witness.effects.flatMap((call) => {
      if (!isTool(call)) return [];
      const isOf = ({ stepId, by }: { stepId: string; by: string }) =>
        stepId === call.stepId && by === call.by;
      const look = witness.looks.findLast((one) => isOf(one) && one.at <= call.askedAt);
      // Who answers an effect, and a store that fails, makes its step wait.
      const waits = [
        openedBefore({ witness, ...of }, call),
        ...witness.waits.filter((one) => isOf(one) && one.at <= call.askedAt).map(({ at }) => at),
        ...witness.effects
          .filter((one) => isOf(one) && one.answeredAt !== null && one.answeredAt <= call.askedAt)
          .map(({ answeredAt }) => answeredAt ?? 0),
      ];
      const isOld = look === undefined || call.askedAt - look.at > 5_000;
      return isOld || waits.some((at) => at > look.at) ? [told(call)] : [];
    }),

  "nothing runs for a run that has ended": (of) =>
    of.witness.effects.flatMap((call) => {
      const { stepId } = call;
      const step = of.steps.get(stepId);
      const endedAt = of.plane.runs.get(step?.runId ?? "")?.ended?.at ?? null;
      const openedAt = openedBefore(of, call);
      if (endedAt === null || openedAt <= endedAt) return [];
      // One look at a run serves its steps for a moment; a step that comes back is looked at anew.
      const isFirst = of.witness.openings.get(stepId)?.[0]?.at === openedAt;
      if (isFirst && openedAt - endedAt < 2_500) return [];
      // A fresh local search costs nothing, and our own control plane refuses its report.
      const isHarmless = of.plan.rules === "embedded" && isFree(call);
      return isHarmless ? [] : [`${told(call)}, opened after the end`];
    }),

  "what a person said yes to is not asked again": (of) =>
    of.plane.approvals.flatMap((asked) => {
      const { plane, witness } = of;
      const { stepId, action, askedAt } = asked;
      // A doubt comes anew with every try, and what the store forgot nobody remembers.
      if (action.kind === "repeat" || witness.isForgotten(stepId)) return [];
      const yes = plane.approvals.find(
        (one) =>
          one !== asked &&
          one.stepId === stepId &&
          one.status === "approved" &&
          (one.answeredAt ?? askedAt) < askedAt &&
          // A yes is for the tool as it was when its step looked at it, which is before the question was put.
          !witness.toolChanges.some(({ at }) => at >= openedBefore(of, one) && at <= askedAt) &&
          JSON.stringify(one.action) === JSON.stringify(action),
      );
      if (yes === undefined) return [];
      return [
        `${stepId} at ${(askedAt / 1_000).toFixed(3)} s, answered at ${((yes.answeredAt ?? 0) / 1_000).toFixed(3)} s`,
      ];
    }),

  "nothing runs under an approval for something else": (of) =>
    of.witness.effects.flatMap((call) => {
      if (!isTool(call) || of.plane.allowed.has(call.stepId)) return [];
      const openedAt = openedBefore(of, call);
      const grants = approvalsOf(of, call);
      // What was shown is what the tools were when it was asked.
      const isOther = grants.every(({ askedAt }) => {
        const shown = of.witness.toolsAt(askedAt);
        return shown.server !== call.tools.server || shown.schema !== call.tools.schema;
      });
      const isChanged = of.witness.toolChanges.some(({ at }) => at < openedAt);
      return grants.length > 0 && isOther && isChanged ? [told(call)] : [];
    }),
};
