/** The runtime, what it is made of, and the words of its ports. */
export { type Runtime, startRuntime } from "./runtime.ts";
export {
  type Allowlist,
  defaultOptions,
  type ModelPartNotice,
  type RuntimeOptions,
  type StepEndNotice,
  type StepEventNotice,
} from "./options.ts";
export type { RuntimePorts } from "./ports.ts";
export { systemClock } from "./runtime.ts";
export type {
  Effect,
  Permission,
  StepHandler,
  StepScope,
  UsersHandlers,
  HandlerResult,
} from "./handlers/handler.ts";
export type { Action, Ask, Grant } from "../machines/contracts/domain/action.ts";
export { type Failure, retryable, terminal } from "../machines/contracts/domain/failure.ts";
export { type Job, parseJob, toEnvelope } from "../machines/contracts/domain/job.ts";
export type { Outcome } from "../machines/contracts/domain/failure.ts";
export { type Verdict, verdict } from "../machines/contracts/domain/action.ts";
