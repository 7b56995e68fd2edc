import { agentCalls } from "../plan.ts";
import { unmarked } from "../../support/unmarked.ts";
import { nameOf } from "../plane-records.ts";
import { type History, isAbout, isFree, type Promises, when } from "./history.ts";

/** Every call of an unsafe effect beyond the first that no person had granted by then. */
function unaskedRepeats(of: History, stepId: string): string[] {
  return [null, ...agentCalls].flatMap((call) => unaskedRepeatsOf(of, stepId, call));
}

function unaskedRepeatsOf(
  { witness, plane }: History,
  stepId: string,
  of: string | null,
): string[] {
  const calls = witness.effects.filter(
    (call) => call.stepId === stepId && call.isUnsafe && call.mayHaveRun && call.call === of,
  );
  return calls.slice(1).flatMap((call, index) => {
    const grants = plane.approvals.filter(
      (approval) =>
        approval.stepId === stepId &&
        approval.actions.some((action) => action.kind === "repeat" && isAbout(action, of)) &&
        approval.answeredAt !== null &&
        approval.answeredAt <= call.at &&
        approval.status !== "rejected",
    );
    const how = `${nameOf({ stepId, call: of })} ran ${index + 2} times with ${grants.length} grants: ${when(call)}`;
    return grants.length > index ? [] : [how];
  });
}

/** What touches the outside world. A store that forgot a step's writes can't keep these for it. */
export const effects: Promises = {
  "an unsafe effect runs again only after a person granted the repeat": (of) =>
    of.plan.steps.flatMap(({ stepId }) =>
      of.witness.isForgotten(stepId) ? [] : unaskedRepeats(of, stepId),
    ),

  "a dead letter that is put back repeats no unsafe effect unasked": (of) =>
    [...of.witness.retried.keys()].flatMap((stepId) =>
      of.witness.isForgotten(stepId) ? [] : unaskedRepeats(of, stepId),
    ),

  "a grant is used once": ({ witness }) =>
    [...witness.spent]
      .filter(([grant]) => !witness.isForgotten(grant.split(" ")[0] ?? ""))
      .filter(([, spenders]) => spenders.size > 1)
      .map(([grant, spenders]) => `${grant} by ${[...spenders].join(" and ")}`),

  "a worker that lost its lease does nothing more that costs": ({ witness }) =>
    witness.effects
      .filter((call) => call.isStale && !isFree(call) && !witness.isForgotten(call.stepId))
      .filter(({ stepId, by, at }) => !witness.isJumped(stepId, by, at))
      .map((call) => `${call.name} of ${call.stepId} by ${when(call)}`),

  "a worker that lost its lease reports nothing": ({ witness, faults }) =>
    witness.reports
      // Where nobody can open the record, nobody can lose it.
      .filter(({ isStale, stepId }) => isStale && !faults.unusable.has(stepId))
      .filter(({ stepId }) => !witness.isForgotten(stepId))
      .filter(({ stepId, by, at }) => !witness.isJumped(stepId, by, at))
      .map((report) => `${report.stepId} ${report.status} by ${when(report)}`),

  "a completed effect is never repeated": ({ witness }) =>
    witness.effects.flatMap((call) => {
      const { stepId, name, key, askedAt } = call;
      if (isFree(call) || witness.isForgotten(stepId)) return [];
      const effect =
        key === null
          ? [...witness.completed].find(([of]) =>
              of.startsWith(
                `${stepId} ${name === "sandbox" ? "sandbox#" : call.call === null ? "tool" : `tool#0.${call.call}`}`,
              ),
            )?.[1]
          : witness.completed.get(`${stepId} ${key.split("/").slice(2).join("/")}`);
      return effect !== undefined && effect < askedAt
        ? [`${name} of ${stepId} by ${when(call)}`]
        : [];
    }),

  "a model is told of each of its calls what became of it": ({ witness }) =>
    witness.told.flatMap(({ stepId, call, at, content }) => {
      if (witness.isForgotten(stepId)) return [];
      const made = witness.effects.filter(
        (one) => one.stepId === stepId && one.call === call && one.mayHaveRun && one.at <= at,
      );
      const isTold =
        made.length === 0 ||
        made.some(({ token }) => unmarked(content).startsWith(token)) ||
        /may have run|done, and badly/.test(content);
      return isTold ? [] : [`${stepId} ${call} ran, and the model is told: ${content}`];
    }),

  "what is reported completed was done": ({ witness }) =>
    witness.reports
      .filter(({ status, reception }) => status === "completed" && reception === "accepted")
      .flatMap(({ stepId }) => {
        const isDone = witness.effects.some((call) => call.stepId === stepId && call.mayHaveRun);
        const isApproval = !witness.effects.some((call) => call.stepId === stepId);
        return isDone || isApproval ? [] : [stepId];
      }),
};
