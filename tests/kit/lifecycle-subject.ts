import type { UsersHandler } from "../../actors/handlers/handler.ts";
import type { RuntimeOptions } from "../../actors/options.ts";
import type { Action, Verdict } from "../../machines/contracts/domain/action.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { StepWorld } from "./lifecycle-world.ts";

/** What is under test: a handler and a policy of the user's, and the job they are tried with. */
export interface LifecycleSubject {
  /** Makes the handler over the world under test; called once for each session of the step. */
  handler: (world: StepWorld) => UsersHandler;
  /** The step to walk; its type decides which handler is replaced. */
  job: Pick<Job, "stepType" | "input">;
  /** The user's own policy, asked before the control plane's; the stricter of the two wins. */
  policy?: (action: Action, job: Job) => Verdict;
  /** Settings that differ from the worker's own. A tool step's tool is allowed unless `allowlist` is given. */
  options?: Partial<Omit<RuntimeOptions, "handlers" | "policy" | "onStepEvent">>;
}
