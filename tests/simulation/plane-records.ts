import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { StepPlan } from "./plan.ts";

export interface PlaneAction {
  kind: string;
  name: string;
  input?: JsonObject;
  [more: string]: Json | undefined;
}

export interface PlaneApproval {
  id: string;
  stepId: string;
  runId: string;
  /** What a person was shown: FerrumDeck's sees all that the step asks at once, ours one action. */
  actions: PlaneAction[];
  digest: string;
  status: "pending" | "approved" | "rejected" | "expired";
  /** History time. */
  askedAt: number;
  /** Epoch milliseconds of the control plane's clock; null for never. */
  expiresAt: number | null;
  /** History time of the answer. */
  answeredAt: number | null;
}

export interface PlaneStep {
  plan: StepPlan;
  status: "pending" | "running" | "waiting_approval" | "completed" | "failed";
  fence: number;
  keys: Map<string, string>;
  /** Terminal reports taken. More than one is a broken promise, which this plane does not prevent. */
  taken: number;
  /** The text of every report taken. */
  results: string[];
  /** What the last report of any kind said; FerrumDeck shows it with the step, also after a yes. */
  output: Json;
  /** History times at which it was put on the stream, and last heard of. */
  enqueuedAt: number;
  heardAt: number;
}

export interface PlaneRun {
  status: string;
  /** What it was when it first ended, and when. */
  ended: { as: string; at: number } | null;
  /** Every other status that it took after its end. */
  changes: string[];
}

export type PlaneAnswer = { ok: unknown; repeated?: boolean } | { status: number; code: string };

/** A step's call, as `allowed` knows it. */
export const nameOf = ({ stepId, call }: { stepId: string; call: string | null }) =>
  call === null ? stepId : `${stepId} ${call}`;

export const isOver = ({ status }: PlaneStep) => status === "completed" || status === "failed";

export const viewOf = ({ plan, status, output }: PlaneStep): JsonObject => ({
  id: plan.stepId,
  run_id: plan.runId,
  step_type: ["model", "loop", "pair"].includes(plan.kind) ? "llm" : "tool",
  status,
  output,
});
