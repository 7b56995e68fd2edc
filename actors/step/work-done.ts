import type { CallResult, CallTarget } from "../../machines/agent-loop/context.ts";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import {
  type StepResult,
  type Usage,
  usageOfFailure,
} from "../../machines/contracts/domain/step-result.ts";
import type { ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import { addUsage } from "../../machines/step/updates.ts";
import { type OutputTurn, toOutput, usageOfReply } from "../handlers/agent-output.ts";
import { toolless } from "../handlers/agent-results.ts";
import { restore } from "./effects.ts";
import type { ActivityScope } from "./session.ts";

/*
 * What an agent's loop had done when its step failed. A deadline, a no and a budget end a step in the middle of a turn,
 * or while no handler runs; the journal has every answer and every call's result, and the report must not say less: a
 * call that ran has run.
 */

/** What the journal has of a model's answer. */
interface KeptAnswer {
  reply: ModelReply;
  targets: (CallTarget | null)[];
  tooLong: Failure;
}

const answerKey = /^model#(\d+)\.(\d+)(?:\+(\d+))?$/u;

/** The failed result of an agent's loop with all that the journal says was done; any other result as it is. */
export async function withWorkDone(scope: ActivityScope, result: StepResult): Promise<StepResult> {
  // A result that was refused is sent once more, short.
  if (result.status !== "failed" || scope.context.undelivered !== null) return result;
  const done = await readJournal(scope);
  if (done === null) return result;
  const output = toOutput(done.turns, { folded: 0 }, "failed", done.usage);
  if (result.output === null) {
    // Of the present round nothing is counted yet.
    return { ...result, output, usage: addUsage(result.usage, done.uncounted) };
  }
  return { ...result, output: withCalls(result.output, output["tool_calls"] as JsonObject[]) };
}

/** A loop that ended itself in the middle of a turn has said all but what came of that turn's calls. */
function withCalls(output: Json, calls: JsonObject[]): Json {
  const said = isJsonObject(output) ? output["tool_calls"] : null;
  return isJsonObject(output) && Array.isArray(said) && said.length < calls.length
    ? { ...output, tool_calls: calls }
    : output;
}

async function readJournal({ ports, session, context }: ActivityScope) {
  const { journal, key } = session;
  const read = async (effect: string): Promise<Json> => {
    if (!journal.isCompleted(effect)) return null;
    const kept = await restore(ports.artifacts, key, journal.result(effect));
    return "value" in kept ? kept.value : null;
  };
  const turns: OutputTurn[] = [];
  let usage: Usage | null = null;
  let uncounted: Usage | null = null;
  for (const { effect, round, turn } of answersIn(journal.completed())) {
    const { reply, targets = [], tooLong } = ((await read(effect)) ?? {}) as Partial<KeptAnswer>;
    const used = reply === undefined ? null : usageOfReply(reply);
    const all = tooLong === undefined ? used : addUsage(used, usageOfFailure(tooLong));
    usage = addUsage(usage, all);
    if (round >= context.repairs) uncounted = addUsage(uncounted, all);
    if (reply === undefined) continue;
    const results = reply.toolCalls.map(async (call, at): Promise<CallResult | null> => {
      const of = `tool#${round}.${turn}.${at + 1}`;
      if (journal.isUnsafeInDoubt(of)) {
        const said = "the call was begun and may have run: its outcome was never recorded";
        return { ...toolless(call, targets[at] ?? null, "allow", said, said), ran: true };
      }
      return (await read(of)) as unknown as CallResult | null;
    });
    turns.push({ reply, results: await Promise.all(results) });
  }
  return turns.length === 0 && usage === null ? null : { turns, usage, uncounted };
}

/** The model's answers among the effects, in the order of their turns. */
function answersIn(effects: readonly string[]) {
  const answers = effects.flatMap((effect) => {
    const [, round, turn, again = "0"] = answerKey.exec(effect) ?? [];
    return round === undefined
      ? []
      : [{ effect, round: Number(round), turn: Number(turn), again: Number(again) }];
  });
  return answers.sort(
    (one, other) => one.round - other.round || one.turn - other.turn || one.again - other.again,
  );
}
