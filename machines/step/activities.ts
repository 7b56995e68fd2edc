/**
 * The work that the chart asks for: entering a state names one of these, and what came of it returns as an event.
 * The binding (actors/step/bind.ts) must have every one of them, and so must the test kit: a forgotten one is an
 * error of types.
 */
export const activities = [
  /** Opens the record; answers `record.*`. actors/step/pending.ts */
  "load",
  /** Judges the step's own action; answers `policy.*`. actors/step/policy.ts */
  "checkPolicy",
  /** Puts the open questions; answers `approval.requested`. actors/step/approval.ts */
  "requestApproval",
  /** Reads what people decided; answers `approval.*`. actors/step/approval.ts */
  "readDecision",
  /** Runs the handler; answers `execution.completed`, `approval.needed` or `activity.failed`. actors/step/execute.ts */
  "execute",
  /** Checks what came out; answers `output.*`. actors/step/validate.ts */
  "validate",
  /** Keeps the result before it is sent; answers `result.recorded`. actors/step/report.ts */
  "record",
  /** Sends the report once; answers `delivery.*`. actors/step/report.ts */
  "deliver",
  /** Acknowledges the job and closes the record; answers `step.settled`. actors/step/report.ts */
  "settle",
  /** Puts the step away as data; answers `step.parked`. actors/step/park.ts */
  "park",
  /** Waits in memory; answers `retry.due`. actors/step/park.ts */
  "backOff",
  /** Gives the job back, uncounted; nobody waits for an answer. actors/step/bind.ts */
  "release",
] as const;

export type Activity = (typeof activities)[number];

/** Stand-ins: the chart itself does nothing, and a restored one starts nothing. */
export const unbound = Object.fromEntries(
  activities.map((activity) => [activity, () => {}]),
) as Record<Activity, () => void>;
