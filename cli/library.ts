/**
 * What `import … from "stateplane"` gives: a configuration and what is in it, a worker or a whole data plane of it, and
 * the runtime for those who compose their own. What a worker needs is loaded when one is started.
 */
import type { Policy } from "../actors/options.ts";
import type { UsersHandler } from "../actors/handlers/handler.ts";
import type { StartHooks } from "./compose/start-given.ts";
import type { Dev } from "./compose/start-dev.ts";
import type { Worker } from "./compose/start-worker.ts";
import type { UsersConfig } from "./config/settings.ts";

export * from "../actors/public.ts";
export {
  type AnyTool,
  defineTool,
  type StandardSchema,
  type ToolContext,
  type ToolDefinition,
} from "../adapters/functions/define-tool.ts";
export type { Dev, Policy, StartHooks, UsersConfig, UsersHandler, Worker };

/**
 * A configuration, with its keys checked as they are typed; `stateplane.config.ts` exports one as its default. Every key
 * may be left out. Values are checked when a worker starts, and an error names key, source and expectation.
 *
 * @example
 * import { defineConfig } from "stateplane";
 *
 * export default defineConfig({
 *   concurrency: 8,
 *   allowlist: { allowed: ["read_*"], approvalRequired: ["charge_card"] },
 * });
 */
export function defineConfig(config: UsersConfig): UsersConfig {
  return config;
}

/**
 * Work of your own, for the `handlers` of a configuration: in place of a step type's (`llm`, `tool`, …) or of one tool's
 * in tool steps (`tool:charge_card`). What it does to the world goes through `scope.effect`, and is then journalled and
 * never repeated unseen; `next()` does the work that it stands before.
 *
 * @example
 * import { defineConfig, defineHandler } from "stateplane";
 *
 * const unlessTest = defineHandler(async ({ job, log }, next) => {
 *   if (job.input["dry_run"] !== true) return next();
 *   log.info({}, "a dry run: nothing is done");
 *   return { kind: "done", output: { dryRun: true } };
 * });
 *
 * export default defineConfig({ handlers: { "tool:charge_card": unlessTest } });
 */
export function defineHandler(handler: UsersHandler): UsersHandler {
  return handler;
}

/**
 * A say of your own on every action, before the control plane's; the strictest verdict stands. It answers at once, and
 * whatever it returns that is no verdict denies.
 *
 * @example
 * import { defineConfig, definePolicy, verdict } from "stateplane";
 *
 * const policy = definePolicy(({ name, input }) =>
 *   name === "charge_card" && Number(input["cents"]) > 10_000
 *     ? verdict.ask("more than 100.00 leaves the account")
 *     : verdict.allow("a small amount"),
 * );
 *
 * export default defineConfig({ policy });
 */
export function definePolicy(policy: Policy): Policy {
  return policy;
}

/**
 * Starts a worker that takes jobs for a control plane, as `stateplane worker` does. The environment counts too, and
 * before the configuration: pass `env: {}` to keep it out. Relative paths start at the working directory.
 *
 * @returns once the store is open and the control plane has answered; `await using` lets its steps finish and ends it
 * @throws Error naming key, source and expectation of a setting that can't be used
 * @example
 * import { startDev, startWorker } from "stateplane";
 *
 * // In production this is FerrumDeck's gateway, or a `stateplane dev` elsewhere.
 * await using dev = await startDev({ store: "sqlite", dataDir: "plane" }, { env: {} });
 *
 * await using worker = await startWorker(
 *   { store: "sqlite", dataDir: "plane", controlPlaneUrl: dev.url, apiKey: dev.apiKey },
 *   { env: {} },
 * );
 * console.log(worker.runtime.steps().length); // 0
 */
export async function startWorker(config: UsersConfig, hooks: StartHooks = {}): Promise<Worker> {
  const { startGivenWorker } = await import("./compose/start-given.ts");
  return startGivenWorker(config, hooks);
}

/**
 * Starts a whole data plane in this process, as `stateplane dev` does: control plane, store and worker. State is kept in
 * `dataDir`.
 *
 * @returns once jobs are taken; `await using` lets its steps finish and ends it
 * @throws Error naming key, source and expectation of a setting that can't be used
 * @example
 * import { defineTool, startDev } from "stateplane";
 * import { createControlPlaneApi } from "stateplane/control-plane";
 *
 * const add = defineTool({
 *   name: "add",
 *   description: "Adds two numbers.",
 *   input: { type: "object", required: ["a", "b"] },
 *   annotations: { readOnly: true },
 *   run: ({ a, b }) => Number(a) + Number(b),
 * });
 * await using dev = await startDev(
 *   { tools: [add], allowlist: { allowed: ["add"] }, store: "sqlite" },
 *   { env: {} },
 * );
 * const api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 5_000 });
 * const signal = AbortSignal.timeout(10_000);
 * const step = { type: "tool", input: { tool_name: "add", tool_input: { a: 2, b: 3 } } } as const;
 * const run = await api.createRun({ agentId: "assistant", input: {}, steps: [step] }, signal);
 * console.log(run.ok); // true
 * await api.close();
 */
export async function startDev(config: UsersConfig, hooks: StartHooks = {}): Promise<Dev> {
  const { startGivenDev } = await import("./compose/start-given.ts");
  return startGivenDev(config, hooks);
}
