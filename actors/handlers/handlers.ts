import type { StepType } from "../../machines/contracts/domain/job.ts";
import type { RuntimeOptions } from "../options.ts";
import type { RuntimePorts } from "../ports.ts";
import { approvalHandler } from "./approval.ts";
import type { StepHandler } from "./handler.ts";
import { llmHandler } from "./llm.ts";
import { retrievalHandler } from "./retrieval.ts";
import { sandboxHandler } from "./sandbox.ts";
import { toolHandler } from "./tool.ts";
import { withUsersHandlers } from "./users-handlers.ts";

/** The work of each step type: ours, with the user's own before it. */
export function handlersFor(
  ports: RuntimePorts,
  options: Pick<
    RuntimeOptions,
    "defaultModel" | "maxIterations" | "allowlist" | "handlers" | "keepJournals" | "onLoopMove"
  >,
): Record<StepType, StepHandler> {
  const builtIn = {
    llm: llmHandler(ports, options),
    tool: toolHandler(ports, options),
    retrieval: retrievalHandler(ports),
    sandbox: sandboxHandler(ports),
    approval: approvalHandler,
  };
  const { handlers } = options;
  if (handlers === undefined) return builtIn;
  return withUsersHandlers(builtIn, handlers, ports, (of) => llmHandler(ports, options, of));
}
