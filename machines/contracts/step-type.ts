/** The five step types a worker executes. The gateway's own `human` is not among them. */
export const stepTypes = ["llm", "tool", "retrieval", "sandbox", "approval"] as const;
export type StepType = (typeof stepTypes)[number];

export function isStepType(text: string): text is StepType {
  return (stepTypes as readonly string[]).includes(text);
}
