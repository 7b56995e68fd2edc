import { toAsk } from "../../actors/step/approvals.ts";
import type { CallResult } from "../../machines/agent-loop/context.ts";
import {
  deniedBy,
  type Action,
  type Ask,
  type Verdict,
} from "../../machines/contracts/domain/action.ts";
import { retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import {
  actionOf,
  type Answer,
  type Call,
  type Life,
  type Move,
  ownActionOf,
  type World,
  wordOn,
} from "./life.ts";

/*
 * What can happen at a moment of a life, under the configuration that is asked about: whatever the machine waits for
 * there, with policy's answers limited to the verdicts that this configuration can give. The rules of judging are those
 * of actors/step/policy.ts and actors/handlers/agent-call.ts: a yes answers `ask` and never `deny`, and only for exactly
 * the call that was shown; a verdict is asked for again before the work begins.
 *
 * Left out is what only ends a step, wherever it stands: a cancel, a deadline, a lost lease, a store that refuses. What
 * comes after `reported` calls nothing.
 */

const passing = retryable("unavailable", "it can't be reached");
const at = { at: 0, jitter: 0 };

const tell = (says: string, step: StepEvent, more: Partial<Move> = {}): Move => ({
  type: "step",
  says,
  step,
  ...more,
});

const died: Move = { type: "taken-up", says: "the worker dies; another one takes the step over" };

export function movesAt(world: World, life: Life): Move[] {
  if (life.status !== "active") return [];
  const { value } = life.step;
  if (value === "parked") {
    return [{ type: "taken-up", says: "a worker takes the step up again" }];
  }
  switch (stateOf(value)) {
    case "pending":
      return [atPending(life)];
    case "policy-check.checking":
      return [...atPolicy(world, life), failed("policy can't be asked"), died];
    case "policy-check.backing-off":
    case "awaiting-approval.backing-off":
    case "executing.backing-off":
      return [tell("its wait is over", { type: "retry.due" })];
    case "awaiting-approval.requesting":
      return atRequesting(life);
    case "awaiting-approval.deciding":
      return [...atDeciding(life), failed("the control plane can't be reached"), died];
    case "awaiting-approval.parking":
    case "executing.parking":
      return [tell("the step is put away, and waits", { type: "step.parked" })];
    case "executing.working":
      return [...(world.job.stepType === "tool" ? atTool(world, life) : atLoop(world, life)), died];
    case "validating":
      return [tell("what came out is valid", { type: "output.valid", output: null })];
    default:
      return [];
  }
}

/** `executing.working`. */
export const stateOf = (value: unknown): string =>
  typeof value === "string"
    ? value
    : Object.entries(value as Record<string, unknown>)
        .map(([name, inner]) => `${name}.${stateOf(inner)}`)
        .join(" ");

const failed = (says: string): Move =>
  tell(says, { type: "activity.failed", failure: passing, costly: false, ...at });

const atPending = ({ kept }: Life): Move =>
  kept === null
    ? tell("a worker takes the step", { type: "record.fresh" })
    : tell("what its record keeps is read", kept);

function atPolicy(world: World, life: Life): Move[] {
  const [first] = world.calls;
  const isTool = world.job.stepType === "tool" && first !== undefined;
  const action = isTool ? actionOf(world, life, first) : ownActionOf(world);
  return (isTool ? first.verdicts : world.own).map((verdict) => {
    const { reason } = verdict;
    if (verdict.kind === "deny")
      return tell(`denied: ${reason}`, { type: "policy.denied", verdict });
    if (verdict.kind === "allow") {
      return tell(`allowed: ${reason}`, { type: "policy.allowed", verdict });
    }
    if (wordOn(life, action).grant !== null) {
      return tell(`approved before: ${reason}`, { type: "policy.allowed", verdict });
    }
    const asks = [toAsk(life.step.context, action, reason)];
    return tell(`a person is to be asked: ${reason}`, { type: "policy.asked", verdict, asks });
  });
}

function atRequesting({ step }: Life): Move[] {
  const asks = step.context.asks.map((ask): Ask => ({ ...ask, approvalId: "apr", expiresAt: 1 }));
  return [
    tell("the question is put", { type: "approval.requested", asks }),
    tell("it was put before, and is answered", {
      type: "approval.requested",
      asks,
      isAnswered: true,
    }),
    failed("the control plane can't be reached"),
  ];
}

function atDeciding({ step, decided }: Life): Move[] {
  const { asks } = step.context;
  const [ask] = asks;
  if (ask === undefined) return [];
  const { digest } = ask;
  const grant = { digest, approvalId: "apr", resolvedBy: "a person" };
  const yes = tell(
    "a person approves",
    { type: "approval.granted", grants: [grant] },
    { decides: { [digest]: "yes" } },
  );
  const answers = [
    yes,
    refusing(ask, "a person rejects", "no"),
    refusing(ask, "the approval is for another action", "no"),
    refusing(ask, "nobody answers in time", "late"),
  ];
  // Who looks again at what was answered finds that answer.
  const before = decided[digest];
  if (before !== undefined) return answers.filter(({ decides }) => decides?.[digest] === before);
  return [...answers, tell("nobody has answered yet", { type: "approval.pending", asks })];
}

function refusing(ask: Ask, says: string, answered: Exclude<Answer, "yes">): Move {
  const { digest, approvalId, action } = ask;
  const decides = { [digest]: answered };
  const kind = answered === "no" ? "approval_rejected" : "approval_expired";
  if (action.call === undefined) {
    const type = answered === "no" ? "approval.rejected" : "approval.expired";
    return tell(says, { type, failure: terminal(kind, says) }, { decides });
  }
  const refusals = [{ digest, approvalId, kind, reason: says } as const];
  return tell(says, { type: "approval.settled", grants: [], refusals }, { decides });
}

/** What comes of a call once it is to be made: judged again, as it is each time. */
function judged(world: World, life: Life, call: Call) {
  const action = actionOf(world, life, call);
  const word = wordOn(life, action);
  return call.verdicts.map((verdict) => {
    const mayRun = verdict.kind === "allow" || (verdict.kind === "ask" && word.grant !== null);
    const { digest, isApproved, wasRejected } = word;
    const ran = { input: call.input, digest, verdict, isApproved, wasRejected };
    return { verdict, action, word, ran: mayRun ? ran : null };
  });
}

const saysRan = (name: string, isApproved: boolean, { reason }: Verdict): string =>
  isApproved ? `${name} runs, as approved` : `${name} runs, and nobody has approved it: ${reason}`;

function atTool(world: World, life: Life): Move[] {
  const [call] = world.calls;
  if (call === undefined) return [];
  const moves = judged(world, life, call).flatMap(({ verdict, action, ran }): Move[] => {
    if (ran !== null) {
      const says = saysRan(world.tool.name, ran.isApproved, verdict);
      return [
        tell(
          says,
          { type: "execution.completed", output: "its result", usage: null, costly: true },
          { ran },
        ),
        tell(
          `${says}; its answer is lost`,
          { type: "activity.failed", failure: passing, costly: true, ...at },
          { ran },
        ),
      ];
    }
    if (verdict.kind === "deny")
      return [tell(`denied: ${verdict.reason}`, { type: "policy.denied", verdict })];
    return [needing(life, action, verdict)];
  });
  return [...moves, failed("the tool's server can't be reached")];
}

const needing = ({ step }: Life, action: Action, { reason }: Verdict): Move =>
  tell(`a person is to be asked: ${reason}`, {
    type: "approval.needed",
    asks: [toAsk(step.context, action, reason)],
  });

const answer: ModelReply = {
  provider: "any",
  model: "any",
  content: "the answer",
  toolCalls: [],
  finishReason: "stop",
  usage: { inputTokens: 1, outputTokens: 1 },
};

const calling = (name: string, input: JsonObject): ModelReply => ({
  ...answer,
  content: "",
  toolCalls: [{ id: "call", name, arguments: input }],
  finishReason: "tool_calls",
});

const inLoop = (says: string, event: Move["loop"], more: Partial<Move> = {}): Move => ({
  type: "loop",
  says,
  ...(event === undefined ? {} : { loop: event }),
  ...more,
});

function atLoop(world: World, life: Life): Move[] {
  const { loop } = life;
  if (loop === null) return [];
  const away = inLoop("a neighbour can't be reached", { type: "trouble.met", failure: passing });
  if (loop.value !== "calling") {
    const calls = loop.value === "asking" ? world.calls : [];
    return [
      inLoop("the model answers", { type: "reply.received", reply: answer }),
      ...calls.map(({ input }) =>
        inLoop(`the model calls ${world.tool.name} with ${JSON.stringify(input)}`, {
          type: "reply.received",
          reply: calling(world.tool.name, input),
        }),
      ),
      away,
    ];
  }
  const wanted = JSON.stringify(loop.context.turns.at(-1)?.reply.toolCalls[0]?.arguments);
  const call = world.calls.find(({ input }) => JSON.stringify(input) === wanted);
  return call === undefined ? [away] : [...atCall(world, life, call), away];
}

function atCall(world: World, life: Life, call: Call): Move[] {
  const { name, server } = world.tool;
  const result = (text: string, decision: CallResult["decision"], ran: boolean): CallResult => ({
    content: text,
    error: ran ? null : text,
    decision,
    reason: text,
    tool: name,
    server,
    approvalId: null,
    digest: null,
    durationMs: 0,
    ran,
  });
  const told = (text: string, decision: CallResult["decision"], more: Partial<Move> = {}): Move => {
    const turns = life.loop?.context.turns.length ?? 0;
    const results = [result(text, decision, more.ran !== undefined)];
    return inLoop(text, { type: "results.received", results, digest: `turn ${turns}` }, more);
  };
  return judged(world, life, call).map(({ verdict, action, word, ran }) => {
    if (word.refusal !== null) {
      return told(`the model is told that ${name} was not approved`, "requires_approval");
    }
    if (ran !== null) return told(saysRan(name, ran.isApproved, verdict), "allow", { ran });
    if (verdict.kind === "ask") {
      const { says, step } = needing(life, action, verdict);
      return inLoop(says, step as Extract<StepEvent, { type: "approval.needed" }>);
    }
    return verdict.failsStep === true
      ? inLoop(`denied: ${verdict.reason}`, { type: "calls.failed", failure: deniedBy(verdict) })
      : told(`the model is told that ${name} is denied: ${verdict.reason}`, "deny");
  });
}
