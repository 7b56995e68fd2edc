import type { StepHandler } from "../../actors/handlers/handler.ts";
import type { Action } from "../../machines/contracts/domain/action.ts";
import { retryable } from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";

const scope = { tenantId: "ten_1", projectId: null, agentId: null, traceId: null, spanId: null };
export const corpusJob: Job = {
  ...scope,
  runId: "run_1",
  stepId: "stp_1",
  stepType: "llm",
  input: { task: "write two lines" },
  createdAt: 1_700_000_000_000,
};

const write = (line: number): Action => ({ kind: "tool", name: "write", input: { line } });

/** How the neighbours behave while a step of the corpus is walked. */
export interface CorpusWorld {
  /** What was done to the world in this life, in order. */
  done: string[];
  /** Whether the model turns calls away for long. */
  isBusy: boolean;
  /** Whether the desk takes a line and never says so. */
  losesAnswers: boolean;
}

/** A step that touches the world in every way there is: a paid call, then two writes that people must grant. */
export function corpusStep(world: CorpusWorld, asksAtOnce: boolean): StepHandler {
  return async ({ permission, effect }) => {
    const thought = await effect({
      name: "model:think",
      input: { about: "lines" },
      repeat: "safe",
      run: async () => {
        world.done.push("think");
        return { ok: true, value: "two lines" };
      },
    });
    if (!thought.ok) return thought.result;
    if (world.isBusy) {
      return { kind: "failed", failure: retryable("rate_limited", "come back later", 600_000) };
    }
    if (asksAtOnce) {
      const permitted = await Promise.all([1, 2].map((line) => permission(write(line))));
      const asks = permitted.flatMap((one) =>
        !one.allowed && one.result.kind === "asked" ? one.result.asks : [],
      );
      if (asks.length > 0) return { kind: "asked", asks };
    }
    for (const line of [1, 2]) {
      const permitted = await permission(write(line));
      if (!permitted.allowed) return permitted.result;
      const written = await effect({
        name: "tool:write",
        input: { line },
        repeat: "unsafe",
        action: permitted.action,
        ...(permitted.grant === null ? {} : { grant: permitted.grant }),
        run: async () => {
          world.done.push(`write ${line}`);
          return world.losesAnswers
            ? { ok: false, failure: { kind: "in_doubt", message: "no answer", retryable: false } }
            : { ok: true, value: line };
        },
      });
      if (!written.ok) return written.result;
    }
    return { kind: "done", output: "both lines" };
  };
}
