import type { EffectCall } from "../witness.ts";
import { offerOf } from "../neighbours.ts";
import { verdictOf } from "../plan.ts";
import { nameOf } from "../plane-records.ts";
import {
  type History,
  isAbout,
  isFree,
  isTool,
  openedBefore,
  type Promises,
  when,
} from "./history.ts";

const told = (call: EffectCall) => `${call.name} of ${call.stepId} by ${when(call)}`;

/** Approvals of this very call that a person gave before it. */
function approvalsOf({ plane }: History, call: EffectCall) {
  return plane.approvals.filter(({ stepId, actions, answeredAt, status }) => {
    const isInTime = answeredAt !== null && answeredAt <= call.at && status !== "rejected";
    if (stepId !== call.stepId || !isInTime) return false;
    return actions.some((action) => {
      // A yes to a repeat is a yes to the call as well.
      if (action.kind === "repeat") return isAbout(action, call.call);
      const isName = action.name === call.name || action.name.endsWith(`.${call.name}`);
      const isCall = isName && isAbout(action, call.call);
      return action.kind === "tool" && isCall && action.input?.["ref"] === stepId;
    });
  });
}

/** A permission is used where it holds, not where it was given. */
export const permission: Promises = {
  "nothing executes without an allowing verdict or a grant for exactly that": (of) =>
    of.witness.effects.flatMap((call) => {
      if (!isTool(call)) return [];
      if (of.plane.allowed.has(nameOf(call))) return [];
      return approvalsOf(of, call).length > 0 ? [] : [told(call)];
    }),

  "a denied step, or one whose question was refused, does nothing": ({ witness, plane, steps }) =>
    witness.effects.flatMap((call) => {
      if (call.name === "model") return [];
      const step = steps.get(call.stepId);
      const isDenied = step !== undefined && verdictOf(step, call.call) === "deny";
      const refused = plane.approvals.find(
        ({ stepId, status, actions }) =>
          stepId === call.stepId &&
          status === "rejected" &&
          actions.every((action) => isAbout(action, call.call)),
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
      const look = witness.looks.findLast(
        (one) => isOf(one) && one.call === call.call && one.at <= call.askedAt,
      );
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
      const { stepId, actions, askedAt } = asked;
      // A doubt comes anew with every try, and what the store forgot nobody remembers.
      if (actions.some(({ kind }) => kind === "repeat") || witness.isForgotten(stepId)) return [];
      const yes = plane.approvals.find(
        (one) =>
          one !== asked &&
          one.stepId === stepId &&
          one.status === "approved" &&
          (one.answeredAt ?? askedAt) < askedAt &&
          // A yes is for the tool as it was when its step looked at it, which is before the question was put.
          !witness.toolChanges.some(({ at }) => at >= openedBefore(of, one) && at <= askedAt) &&
          JSON.stringify(one.actions) === JSON.stringify(actions),
      );
      if (yes === undefined) return [];
      return [
        `${stepId} at ${(askedAt / 1_000).toFixed(3)} s, answered at ${((yes.answeredAt ?? 0) / 1_000).toFixed(3)} s`,
      ];
    }),

  "an agent's call goes to the tool that its model was offered, or nowhere": (of) =>
    of.witness.effects.flatMap((call) =>
      call.offered === null || call.offered === offerOf(call.tools) ? [] : [told(call)],
    ),

  "nothing runs under an approval for something else": (of) =>
    of.witness.effects.flatMap((call) => {
      if (!isTool(call) || of.plane.allowed.has(nameOf(call))) return [];
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
