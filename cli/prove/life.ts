import { initialTransition, type SnapshotFrom, transition } from "xstate";
import {
  actionDigest,
  coveringGrant,
  coveringRefusal,
  stepAction,
} from "../../actors/step/approvals.ts";
import { readRecord } from "../../actors/step/pending.ts";
import type { LoopEvent } from "../../machines/agent-loop/events.ts";
import { agentLoopMachine, loopEnd } from "../../machines/agent-loop/machine.ts";
import { compile } from "../../machines/compile.ts";
import type { Action, Verdict } from "../../machines/contracts/domain/action.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { ToolPair } from "../../machines/contracts/domain/tool-lists.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { stepMachine, stepMachineVersion } from "../../machines/step/machine.ts";

/*
 * One step through all of its sessions: the step's own machine, and inside its `executing` the agent loop's where the
 * step asks a model. Neither is described a second time here: both are walked as they stand in machines/. What this file
 * adds is whose life it is: that a parked step is taken up again with what its record keeps, that a loop that paused
 * stands where it stood, and what a call of the tool in question was let through by.
 *
 * `moves.ts` says which events can happen at a moment, under the configuration that is asked about.
 */

const step = compile(stepMachine);
const loop = compile(agentLoopMachine);

/** A call of the tool in question, and every verdict that it can get: one of a kind. */
export interface Call {
  input: JsonObject;
  verdicts: readonly Verdict[];
}

/** A step whose lives are walked. */
export interface World {
  /** `tool` makes the first call itself; the model of an `llm` step may make any of them, in any order. */
  job: Job & { stepType: "tool" | "llm" };
  agent: string;
  tool: ToolPair & { schema: string | null };
  calls: readonly Call[];
  /** What is said of an llm step itself. */
  own: readonly Verdict[];
}

/** That the tool was called in the move that led here. */
export interface Ran {
  input: JsonObject;
  digest: string;
  verdict: Verdict;
  /** Whether a person has said yes to exactly this call. */
  isApproved: boolean;
  /** Whether a person said no to exactly this call before. */
  wasRejected: boolean;
}

/** A yes, a no, or that nobody answered in time. */
export type Answer = "yes" | "no" | "late";

/** One moment of a life; also XState's snapshot of it, so that @xstate/graph walks it like any machine. */
export interface Life {
  status: "active" | "done" | "error" | "stopped";
  output: undefined;
  error: undefined;
  step: SnapshotFrom<typeof stepMachine>;
  /** Where the agent's loop stands, in this session or for the next. */
  loop: SnapshotFrom<typeof agentLoopMachine> | null;
  /** What the next session finds. */
  kept: Extract<StepEvent, { type: "record.kept" }> | null;
  /** What people said of each call, by its digest: a question is answered once. */
  decided: Readonly<Record<string, Answer>>;
  ran: Ran | null;
}

/** What can happen next. */
export interface Move {
  type: "step" | "loop" | "taken-up";
  /** For a person. */
  says: string;
  step?: StepEvent;
  loop?: LoopEvent;
  /** What people say here, by the call's digest. */
  decides?: Record<string, Answer>;
  ran?: Ran;
}

export function lifeOf(world: World) {
  const { job } = world;
  const input = {
    runId: job.runId,
    stepId: job.stepId,
    job,
    problem: null,
    // Enough for every arrow to be taken, and no more: trying a third time is like trying a second.
    limits: {
      maxAttempts: 2,
      maxRepairs: 0,
      baseDelayMs: 100,
      maxDelayMs: 1_000,
      parkAfterMs: 5_000,
    },
  };
  const loopInput = { limits: { maxIterations: 2, maxRepeats: 3, windowTokens: 100_000 } };
  const newSession = () => initialTransition(step, input)[0];

  const getInitialSnapshot = (): Life => ({
    status: "active",
    output: undefined,
    error: undefined,
    step: newSession(),
    loop: null,
    kept: null,
    decided: {},
    ran: null,
  });

  /** The next moment. */
  function after(life: Life, move: Move): Life {
    const decided = { ...life.decided, ...move.decides };
    const next = { ...life, decided, ran: move.ran ?? null };
    if (move.type === "taken-up") return { ...next, step: newSession() };
    if (move.loop !== undefined) return afterLoop(next, move.loop);
    return move.step === undefined ? next : afterStep(next, move.step);
  }

  function afterLoop(life: Life, event: LoopEvent): Life {
    if (life.loop === null) return life;
    const [to] = transition(loop, life.loop, event);
    const end = loopEnd(to);
    if (end === null) return { ...life, loop: to };
    // What a later session folds of the journal: all that was finished before the pause.
    const ended = { ...life, loop: end === "paused" ? life.loop : null };
    return afterStep(ended, endOfLoop(end, to.context));
  }

  function afterStep(life: Life, event: StepEvent): Life {
    const [to] = transition(step, life.step, event);
    const kept = event.type === "step.parked" ? keptOf(life.step) : life.kept;
    const isWorking = to.matches({ executing: "working" }) && job.stepType === "llm";
    const fresh = isWorking && life.loop === null ? initialTransition(loop, loopInput)[0] : null;
    const isOver = to.status === "done" ? !to.matches("parked") : to.matches("reported");
    return {
      ...life,
      step: to,
      kept,
      loop: fresh ?? life.loop,
      status: isOver ? "done" : "active",
    };
  }

  return {
    transition: after,
    getInitialSnapshot,
    getPersistedSnapshot: (life: Life) => life as never,
  };
}

/** Read back as a worker reads it from the store. */
function keptOf({ value, context }: Life["step"]): Life["kept"] {
  const snapshot = { version: stepMachineVersion, snapshot: { value, context } };
  const read = readRecord({ snapshot, result: null, journal: [] } as never);
  if (!read.ok || read.left === null) throw new Error("a parked step can't be read back");
  return { type: "record.kept", ...read.left };
}

function endOfLoop(
  end: NonNullable<ReturnType<typeof loopEnd>>,
  { asks, failure }: NonNullable<Life["loop"]>["context"],
): StepEvent {
  if (end === "paused" && asks.length > 0) return { type: "approval.needed", asks };
  if (failure !== null && end !== "max_iterations" && end !== "no_progress") {
    return { type: "activity.failed", failure, costly: true, at: 0, jitter: 0 };
  }
  return { type: "execution.completed", output: "the answer", usage: null, costly: true };
}

/** Two moments are one when every rule of both machines, and the question, see the same in them. */
export function keyOf({ step: { value, context }, loop: at, kept, decided, ran }: Life): string {
  const { attempts, checks, asks, grants, refusals } = context;
  const digests = (of: readonly { digest: string }[]) =>
    [...new Set(of.map(({ digest }) => digest))].sort();
  return JSON.stringify([
    value,
    attempts,
    checks,
    asks.map(({ digest, approvalId }) => [digest, approvalId]),
    digests(grants),
    digests(refusals),
    at && [at.value, at.context.turns.map(turnKey), at.context.repeats],
    kept && [kept.left, digests(kept.kept.grants ?? []), digests(kept.kept.refusals ?? [])],
    kept?.kept.attempts,
    Object.entries(decided).sort(([one], [other]) => (one < other ? -1 : 1)),
    ran && [ran.digest, ran.isApproved, ran.wasRejected],
  ]);
}

const turnKey = ({ reply, results }: NonNullable<Life["loop"]>["context"]["turns"][number]) => [
  reply.toolCalls.map((call) => call.arguments),
  results.map(({ ran, decision }) => [ran, decision]),
];

/** The action that a life's next call would be, as it is judged, asked about and approved. */
export function actionOf(world: World, life: Life, call: Call): Action {
  const { server, name, schema } = world.tool;
  const turn = life.loop?.context.turns.length ?? 0;
  return {
    kind: "tool",
    name,
    ...(server === null ? {} : { server }),
    ...(schema === null ? {} : { schema }),
    ...(world.job.stepType === "tool" ? {} : { call: `tool#1.${turn}.1` }),
    input: call.input,
  };
}

/** What stands of a person's word on an action. */
export function wordOn(life: Life, action: Action) {
  const { context } = life.step;
  const digest = actionDigest(context, action);
  return {
    digest,
    grant: coveringGrant(context, action),
    refusal: coveringRefusal(context, action),
    // What people said, and not what the step makes of it: that is what is to be proved.
    isApproved: life.decided[digest] === "yes",
    wasRejected: life.decided[digest] === "no",
  };
}

/** What an llm step asks policy about itself. */
export const ownActionOf = ({ job }: World): Action => stepAction(job);
