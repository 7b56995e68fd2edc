import { createTestModel, type StatePath } from "@xstate/graph";
import type { SnapshotFrom } from "xstate";
import { retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import type { ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import type { CallResult, LoopContext, LoopInput } from "../../machines/agent-loop/context.ts";
import type { LoopEvent } from "../../machines/agent-loop/events.ts";
import { agentLoopMachine } from "../../machines/agent-loop/machine.ts";

export type LoopSnapshot = SnapshotFrom<typeof agentLoopMachine>;
export type LoopPath = StatePath<LoopSnapshot, LoopEvent>;

/** Small limits, so that every way of running out of patience is a short path. */
export const loopInput: LoopInput = {
  limits: { maxIterations: 3, maxRepeats: 2, windowTokens: 1_000 },
};

export const sampleReply: ModelReply = {
  provider: "scripted",
  model: "sample",
  content: "the answer",
  toolCalls: [],
  finishReason: "stop",
  usage: { inputTokens: 10, outputTokens: 5 },
};

export const callingReply: ModelReply = {
  ...sampleReply,
  content: "",
  toolCalls: [{ id: "call_1", name: "read", arguments: { path: "a" } }],
  finishReason: "tool_calls",
};

export const sampleResult: CallResult = {
  content: "long ".repeat(100),
  error: null,
  decision: "allow",
  reason: "on the allowlist",
  tool: "read",
  server: "files",
  approvalId: null,
  digest: "d1",
  durationMs: 1,
  ran: true,
};

const ask = {
  digest: "d1",
  action: { kind: "tool", name: "read", input: {} },
  reason: "writes need approval",
  approvalId: null,
  expiresAt: null,
} as const;
const passing = retryable("unavailable", "the provider is away");
const lasting = terminal("model_failed", "no such model");
const tooLong = terminal("too_large", "the conversation is too long");
const overBudget = terminal("budget_exceeded", "no money left");

/** Every event the loop knows, one or more of a kind. */
export const loopEvents: readonly LoopEvent[] = [
  { type: "reply.received", reply: sampleReply },
  { type: "reply.received", reply: callingReply },
  { type: "reply.received", reply: { ...sampleReply, finishReason: "refusal" } },
  { type: "reply.received", reply: { ...sampleReply, finishReason: "length" } },
  { type: "model.failed", failure: lasting },
  { type: "model.failed", failure: tooLong },
  { type: "results.received", results: [sampleResult], digest: "one" },
  { type: "results.received", results: [sampleResult], digest: "two" },
  { type: "calls.failed", failure: terminal("in_doubt", "it may have run") },
  { type: "budget.exceeded", failure: overBudget },
  { type: "approval.needed", asks: [ask as never] },
  { type: "trouble.met", failure: passing },
];

function serializeState({ value, context }: { value?: unknown; context?: LoopContext }): string {
  return JSON.stringify([
    value,
    context?.turns.length,
    context?.seen,
    context?.repeats,
    context?.folded,
  ]);
}

/** Every simple path of the production chart, generated from its own graph by @xstate/graph. */
export function loopPaths(input: LoopInput = loopInput): LoopPath[] {
  const model = createTestModel(agentLoopMachine as never);
  const options = { events: loopEvents, serializeState, input };
  return model.getSimplePaths(options as never) as unknown as LoopPath[];
}
