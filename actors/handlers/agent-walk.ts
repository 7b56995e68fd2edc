import type { CallTarget, LoopContext, Turn } from "../../machines/agent-loop/context.ts";
import type { LoopEvent } from "../../machines/agent-loop/events.ts";
import {
  agentLoopMachine,
  type LoopActivity,
  loopActivities,
  type LoopEnd,
  loopEnd,
} from "../../machines/agent-loop/machine.ts";
import { isRefusedForLength } from "../../machines/agent-loop/rules.ts";
import { compile } from "../../machines/compile.ts";
import { pureTransitions } from "../../machines/pure.ts";
import {
  fail,
  type Failure,
  ok,
  type Outcome,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { type Usage, usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import type {
  ModelMessage,
  ModelProvider,
  ModelReply,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import { addUsage } from "../../machines/step/updates.ts";
import type { LoopMoveNotice } from "../inspection.ts";
import type { RuntimePorts } from "../ports.ts";
import type { Settlement } from "../step/budget.ts";
import { runCalls, targetsOf } from "./agent-calls.ts";
import {
  broughtBy,
  lastAnswer,
  repairMessage,
  toMessages,
  turnMessages,
} from "./agent-messages.ts";
import { toFailure, toOutput, usageOfReply } from "./agent-output.ts";
import { OfferedTools } from "./agent-tools.ts";
import type { HandlerOf } from "./call-handler.ts";
import type { HandlerResult, StepScope } from "./handler.ts";

/*
 * An llm step is an agent's loop, of one turn where there are no tools. The chart (machines/agent-loop) says what comes
 * next; this file does it and answers with the outcome. Each model call is an effect `model#<round>.<turn>`, each tool
 * call one `tool#<round>.<turn>.<call>`: the same in every session, and the journal keeps of each what came of it and
 * not what went in, so a turn costs the store the same however long the conversation is. A handler begun again walks
 * through what is finished, and the loop stands where it stood.
 *
 * A round is the loop until an answer. An answer that its schema does not accept begins the next round, in which the
 * model sees all that was said before; what was said of it is journalled, too.
 */

/** Turns in a row that repeat an earlier one before the loop counts as stuck. */
const maxRepeats = 3;
/** What a model reads and writes at most, where nobody knows. */
const usualWindow = 128_000;

/** Tokens that are left for the conversation of whoever is asked first, beside its answer. */
function windowFor(
  models: ModelProvider,
  request: Pick<ModelRequest, "model" | "maxTokens">,
): number {
  const targets = models.targets?.(request.model);
  const window = (targets?.ok === true ? targets.value[0]?.contextWindow : null) ?? usualWindow;
  return Math.max(window - request.maxTokens, Math.ceil(window / 4));
}

const loop = pureTransitions(compile(agentLoopMachine));

export type LoopPorts = Pick<RuntimePorts, "models" | "tools" | "schemas" | "artifacts" | "clock">;

/** What a step asks of its model. */
export interface LoopPlan {
  request: Omit<ModelRequest, "messages" | "idempotencyKey">;
  /** The tools for the step's agent; its servers are asked once a session, when somebody first wants to know. */
  offer(): Promise<Outcome<OfferedTools>>;
  handlerOf: HandlerOf;
  onMove?: (notice: LoopMoveNotice) => void;
  /** The step's documents, as its model is shown them. */
  documents: string | null;
}

/** What the journal has of a model call. */
interface KeptAnswer {
  reply: ModelReply;
  targets: (CallTarget | null)[];
  toolsLeftOut: number;
  tooLong: Failure;
  /** What was used of the call's reservation. */
  owed: Settlement;
  /** Whether the model was asked with its tools, and not for its last answer. Absent in older journals. */
  mayCall: boolean;
}

interface Ended {
  end: LoopEnd;
  context: LoopContext;
}

/** One walk through a step's rounds. */
export class LoopWalk {
  /** The result that a round could not begin for. */
  over: HandlerResult = { kind: "failed", failure: terminal("internal", "the loop has no result") };
  readonly #scope: StepScope;
  readonly #ports: LoopPorts;
  readonly #plan: LoopPlan;
  /** What was said since the step's own messages and before the turns of the present round. */
  #said: ModelMessage[] = [];
  /** Of the rounds before this one. */
  #turns: Turn[] = [];
  #folded = 0;
  /** The bound that a round before this one met: an answer mended afterwards is no less of a partial one. */
  #bound: LoopEnd | null = null;
  #maxIterations = 0;
  #asked = "";
  #again = 0;
  #isPaid = false;
  /** What answers used that the conversation was too long for: the last one, those of the round, and those before it. */
  #tooLong: Usage | null = null;
  #inVain: Usage | null = null;
  #inVainBefore: Usage | null = null;

  constructor(scope: StepScope, ports: LoopPorts, plan: LoopPlan) {
    this.#scope = scope;
    this.#ports = ports;
    this.#plan = plan;
  }

  /** Keeps a finished round, so that the next one begins with all that was said in it. */
  next({ end, context: { turns, folded } }: Ended): void {
    if (end === "max_iterations" || end === "no_progress") this.#bound ??= end;
    this.#said = [...this.#said, ...turnMessages(turns, folded)];
    this.#turns = [...this.#turns, ...turns];
    this.#folded += folded;
    this.#inVainBefore = addUsage(this.#inVainBefore, this.#inVain);
    this.#inVain = null;
  }

  /** Begins a round with what was wrong with the last answer; false when it can't. */
  async repair(round: number): Promise<boolean> {
    const note = await this.#scope.effect<Json>({
      name: "repair",
      key: `repair#${round}`,
      input: {},
      isInner: true,
      repeat: "safe",
      run: async () => ok(this.#scope.repairNote ?? "it is not what was asked for"),
    });
    if (!note.ok) this.over = note.result;
    else this.#said = [...this.#said, repairMessage(String(note.value))];
    return note.ok;
  }

  /**
   * Runs the loop of one round to its end in this session.
   *
   * @param maxIterations of the whole step: what earlier rounds used is used
   */
  async run(round: number, maxIterations: number): Promise<Ended> {
    this.#maxIterations = maxIterations;
    const left = Math.max(0, maxIterations - this.#turns.length);
    const limits = {
      maxIterations: left,
      maxRepeats,
      windowTokens: windowFor(this.#ports.models, this.#plan.request),
    };
    this.#isPaid = round === this.#scope.repairs;
    let { snapshot, actions } = loop.initial({ limits });
    const { runId, stepId } = this.#scope.job;
    const tell = (event: LoopEvent | null) =>
      this.#plan.onMove?.({ runId, stepId, round, event, snapshot });
    tell(null);
    for (;;) {
      const end = loopEnd(snapshot);
      if (end !== null) return { end, context: snapshot.context };
      const wanted = actions.find(isActivity) as LoopActivity;
      const event = await this.#do(wanted, snapshot, round);
      ({ snapshot, actions } = loop.next(snapshot, event));
      tell(event);
    }
  }

  async #do(
    wanted: LoopActivity,
    { context, value }: { context: LoopContext; value: unknown },
    round: number,
  ): Promise<LoopEvent> {
    const { turns, folded } = context;
    const last = turns.at(-1);
    if (wanted === "runCalls" && last !== undefined) {
      const { offer, handlerOf } = this.#plan;
      const scope = { ...this.#scope, ports: this.#ports, offer, handlerOf };
      const before = [...this.#turns, ...turns.slice(0, -1)];
      this.#scope.brought(() => broughtBy(before));
      const event = await runCalls(scope, last, `${round}.${turns.length}`);
      if (event.type !== "results.received") return event;
      const askedNext = await this.#askedFor(`model#${round}.${turns.length + 1}`);
      return askedNext === null ? event : { ...event, askedNext };
    }
    const isLast = wanted === "askForAnswer";
    const why = JSON.stringify(value).includes("stuck") ? "stuck" : "capped";
    const said = [
      ...this.#said,
      ...turnMessages(turns, folded),
      ...(isLast ? [lastAnswer(why)] : []),
    ];
    const mayCall = !isLast && context.limits.maxIterations > 0;
    const event = await this.#ask(said, mayCall, `${round}.${turns.length + 1}`);
    if (event.type === "reply.received" && this.#isPaid) this.#scope.budget.used(event.reply);
    return event;
  }

  /** What the model was asked for, where the journal has its answer: under the bounds of that time. */
  async #askedFor(key: string): Promise<"calls" | "answer" | null> {
    if (this.#scope.recall(key) !== "completed") return null;
    const unread = async () => fail(terminal("internal", `the answer ${key} is not read`));
    const effect = { name: "model", key, input: {}, repeat: "safe", run: unread } as const;
    const known = await this.#scope.effect<JsonObject>(effect);
    if (!known.ok) return null;
    const { reply, mayCall } = known.value as Partial<KeptAnswer>;
    if (mayCall === false) return "answer";
    return mayCall === true || (reply?.toolCalls.length ?? 0) > 0 ? "calls" : null;
  }

  async #ask(said: ModelMessage[], mayCall: boolean, place: string): Promise<LoopEvent> {
    const { effect, recall, budget, onPart, signal: ended } = this.#scope;
    // Asked again within a turn, with a shorter conversation, it is another call.
    const again = this.#asked === place ? this.#again + 1 : 0;
    this.#asked = place;
    this.#again = again;
    if (again > 0) this.#inVain = addUsage(this.#inVain, this.#tooLong);
    const key = `model#${place}${again === 0 ? "" : `+${again}`}`;
    // No server is asked for its tools where the answer is known.
    const isKnown = recall(key) === "completed";
    const offered = isKnown ? ok(new OfferedTools([])) : await this.#plan.offer();
    if (!offered.ok) {
      const { failure } = offered;
      return failure.retryable
        ? { type: "trouble.met", failure }
        : { type: "model.failed", failure };
    }
    const request = this.#toRequest(said, mayCall, offered.value);
    let owed: Settlement | null = null;
    const asking = effect<JsonObject>({
      name: `model:${request.model}`,
      key,
      input: asInput(request),
      repeat: "safe",
      holds: isKnown ? null : budget.holds({ ...request, idempotencyKey: key }),
      run: async (signal, idempotencyKey) => {
        const keyed = { ...request, idempotencyKey };
        const reply = await budget.spend(
          keyed,
          signal,
          (within) => this.#ports.models.complete(within, signal, onPart),
          (settlement) => (owed = settlement),
        );
        if (reply.ok) {
          const targets = targetsOf(reply.value.toolCalls, offered.value);
          const { leftOut } = offered.value;
          const toolsLeftOut = leftOut === 0 ? {} : { toolsLeftOut: leftOut };
          const kept = { reply: reply.value, mayCall, targets, ...toolsLeftOut };
          return ok({ ...kept, ...(owed === null ? {} : { owed }) } as unknown as JsonObject);
        }
        // What can be mended here, by a shorter conversation, is an outcome and no end of the effect.
        return isRefusedForLength(reply.failure)
          ? ok({ tooLong: reply.failure as unknown as JsonObject, mayCall })
          : reply;
      },
    });
    const asked = await asking.catch(async (error: unknown) => {
      // The answer is lost; what it used is said once.
      if (owed !== null) await budget.settle(owed, AbortSignal.abort());
      throw error;
    });
    if (owed !== null) await budget.settle(owed, ended);
    if (asked.ok) {
      const { reply, targets, toolsLeftOut, tooLong, ...kept } = asked.value as Partial<KeptAnswer>;
      if (isKnown && kept.owed !== undefined) budget.owes(kept.owed);
      if (reply !== undefined) {
        const wasAsked = kept.mayCall === undefined ? {} : { mayCall: kept.mayCall };
        const event = { type: "reply.received" as const, reply, ...wasAsked };
        const left = toolsLeftOut === undefined ? {} : { toolsLeftOut };
        return targets === undefined ? event : { ...event, targets, ...left };
      }
      if (tooLong !== undefined) {
        const usage = usageOfFailure(tooLong);
        this.#tooLong = usage;
        // What the call of this session used was counted as it failed.
        if (isKnown && this.#isPaid && usage !== null) budget.used({ usage });
        return { type: "model.failed", failure: tooLong };
      }
    }
    const failure = failureOf(asked);
    if (failure.retryable) return { type: "trouble.met", failure };
    if (failure.kind === "budget_exceeded") return { type: "budget.exceeded", failure };
    return { type: "model.failed", failure };
  }

  #toRequest(
    said: ModelMessage[],
    mayCall: boolean,
    offered: OfferedTools,
  ): Omit<ModelRequest, "idempotencyKey"> {
    const tools = offered.forModel();
    const { documents } = this.#plan;
    const messages = [...toMessages(this.#scope.job, tools.length > 0, documents), ...said];
    if (tools.length === 0) return { ...this.#plan.request, messages };
    const toolChoice = mayCall ? {} : ({ toolChoice: "none" } as const);
    return { ...this.#plan.request, messages, tools, ...toolChoice };
  }

  /** What the step's work came to. Usage is that of the last round: earlier ones are counted already. */
  conclude({ end: ended, context }: Ended, onIncomplete: "fail" | "partial"): HandlerResult {
    const end = ended === "completed" ? (this.#bound ?? ended) : ended;
    if (end === "paused" && context.asks.length > 0) return { kind: "asked", asks: context.asks };
    const usage = context.turns.reduce<Usage | null>(
      (sum, { reply }) => addUsage(sum, usageOfReply(reply)),
      addUsage(this.#inVain, context.failure === null ? null : usageOfFailure(context.failure)),
    );
    const before = this.#turns.reduce<Usage | null>(
      (sum, { reply }) => addUsage(sum, usageOfReply(reply)),
      this.#inVainBefore,
    );
    const turns = [...this.#turns, ...context.turns];
    const output = toOutput(
      turns,
      { folded: this.#folded + context.folded },
      end,
      addUsage(before, usage),
      isBound(end) ? context.failure : null,
    );
    const isPartial = onIncomplete === "partial" && isBound(end);
    if (end === "completed" || isPartial) return { kind: "done", output, usage };
    if (end === "paused") {
      const failure = context.failure ?? terminal("internal", "the loop paused without a reason");
      return { kind: "failed", failure, output: { ...output, status: "failed" }, usage };
    }
    const limits = { maxIterations: this.#maxIterations, maxTokens: this.#plan.request.maxTokens };
    const { failure } = context;
    return { kind: "failed", failure: toFailure(end, { failure, turns }, limits), output, usage };
  }
}

/** What a model is asked, its instructions apart from what was said since. */
function asInput({ messages, ...settings }: Omit<ModelRequest, "idempotencyKey">): JsonObject {
  const system = messages.filter(({ role }) => role === "system");
  const said = messages.filter(({ role }) => role !== "system");
  return { ...settings, system, messages: said } as unknown as JsonObject;
}

/** The ends of a loop that was stopped before its answer was there, or whole: what there is of one may be asked for. */
const isBound = (end: LoopEnd): boolean =>
  end === "max_iterations" || end === "no_progress" || end === "cut_off";

const isActivity = (name: string): boolean => (loopActivities as readonly string[]).includes(name);

function failureOf(asked: { ok: boolean; result?: HandlerResult }): Failure {
  const { result } = asked;
  return result?.kind === "failed"
    ? result.failure
    : terminal("internal", "a model call ended in neither an answer nor a failure");
}
