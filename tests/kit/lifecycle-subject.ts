import type { Effect, UsersHandler, UsersHandlers } from "../../actors/handlers/handler.ts";
import type { RuntimeOptions } from "../../actors/options.ts";
import type { AnyTool } from "../../adapters/functions/define-tool.ts";
import { createFunctionHost } from "../../adapters/functions/host.ts";
import type { Action, Verdict } from "../../machines/contracts/domain/action.ts";
import { fail, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { StepWorld } from "./lifecycle-world.ts";
import { noNeighbours } from "./live-once.ts";

interface Surroundings {
  /** The user's own policy, asked before the control plane's; the stricter of the two wins. */
  policy?: (action: Action, job: Job) => Verdict;
  /** Settings that differ from the worker's own. A tool step's tool is allowed unless `allowlist` is given. */
  options?: Partial<Omit<RuntimeOptions, "handlers" | "policy" | "onStepEvent">>;
}

/** What is under test: a handler and a policy of the user's, and the job they are tried with. */
export interface LifecycleSubject extends Surroundings {
  /** Makes the handler over the world under test; called once for each session of the step. */
  handler: (world: StepWorld) => UsersHandler;
  /** The step to walk; its type decides which handler is replaced. */
  job: Pick<Job, "stepType" | "input">;
}

/**
 * What is under test: a tool made with `defineTool`, and a policy. Its name, schemas and annotations are the real ones
 * and decide how it is called. Its `run` is not called: a touch of the world under test stands in for it.
 */
export interface LifecycleTool extends Surroundings {
  tool: AnyTool;
  /** What the step calls it with. */
  input: JsonObject;
  /**
   * What a second call with the same input really does: `unsafe` (it does it again) unless given. A tool whose
   * annotations say that it may be repeated, and which may not, breaks a promise.
   */
  repeat?: Effect<Json>["repeat"];
  /** What the tool returns when all goes well; null unless given. */
  answer?: Json;
}

/** A subject of either kind, as a walk needs it. */
export interface WalkedSubject extends Surroundings {
  job: LifecycleSubject["job"];
  /** The work of one session: handlers of the user's, and the tools that there are. */
  workOf(world: StepWorld, schema: () => string): { handlers: UsersHandlers; tools: ToolHost };
}

/** @throws TypeError when neither a handler nor a tool is there to be tried */
export function readSubject(subject: LifecycleSubject | LifecycleTool): WalkedSubject {
  if ("tool" in subject) return ofTool(subject);
  const { handler, job } = subject;
  if (typeof handler !== "function") {
    const expected = "a function that makes your handler over the world under test";
    throw new TypeError(
      `checkLifecycle: expected handler, ${expected}, or tool, made with defineTool`,
    );
  }
  return {
    ...subject,
    workOf: (world, schema) => ({
      handlers: { [job.stepType]: handler(world) },
      tools: everyTool(schema),
    }),
  };
}

function ofTool(subject: LifecycleTool): WalkedSubject {
  const { tool, input, repeat = "unsafe", answer = null } = subject;
  const { schemas, log } = noNeighbours;
  const action = { kind: "tool", name: tool.name, input } as const;
  return {
    ...subject,
    job: { stepType: "tool", input: { tool_name: tool.name, tool_input: input } },
    workOf(world, schema) {
      const run = async () => {
        const touched = await world.touch(action, { repeat, answer });
        if (touched.ok) return touched.value;
        throw new Error(touched.failure.message);
      };
      const functions = createFunctionHost({ tools: [{ ...tool, run }], schemas, log });
      return { handlers: {}, tools: withSchema(functions, schema) };
    },
  };
}

/** The same tools, under a digest that a history may change. */
function withSchema(host: ToolHost, schema: () => string): ToolHost {
  return {
    ...host,
    async describe(name, signal) {
      const found = await host.describe(name, signal);
      return found.ok ? { ok: true, value: { ...found.value, digest: schema() } } : found;
    },
    async call(target, ...given) {
      const now = await host.describe(target.name, given[1]);
      if (!now.ok) return now;
      if (target.digest !== schema()) {
        const message = `${target.name} is another than the one that was allowed: it was not called`;
        return fail(terminal("policy_denied", message));
      }
      return host.call({ ...target, digest: now.value.digest }, ...given);
    },
  };
}

/** One server that has a tool by any name; what a tool does is the handler's, which touches the world. */
export function everyTool(schema: () => string): ToolHost {
  return {
    ...noNeighbours.tools,
    async describe(name) {
      const plain = { description: "", inputSchema: {}, outputSchema: null };
      const digest = schema();
      const tool = { name, server: "kit", digest, address: name, ...plain };
      return { ok: true, value: { ...tool, safeToRepeat: false, readOnly: false } };
    },
  };
}
