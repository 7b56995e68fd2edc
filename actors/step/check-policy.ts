import { type Failure, retryable } from "../../machines/contracts/failure.ts";
import type { Job } from "../../machines/contracts/job.ts";
import { stepInputProblem } from "../../machines/contracts/step-input.ts";
import { isRunEnded } from "../../machines/contracts/status.ts";
import { type Verdict, verdict } from "../../machines/contracts/verdict.ts";
import { localVerdict } from "../policy/local-verdict.ts";
import { stricter } from "../policy/stricter.ts";
import { stepAction } from "./step-action.ts";
import { toAsk } from "./to-ask.ts";
import { traced } from "./traced.ts";
import { occasion, type StepWork, type WorkScope } from "./work.ts";

/**
 * The worker's own policy first, which costs no round trip to deny; then the control plane's. Closed when
 * either can't answer: a failure is retried, and at last reported, but never passes as a yes.
 */
export const checkPolicy: StepWork = async (scope) => {
  const { ports, life, context } = scope;
  const { job } = context;
  if (job === null) throw new Error("a job without content reached policy-check");
  const problem = stepInputProblem(job.stepType, job.input);
  if (problem !== null) {
    return { type: "failed", failure: problem, costly: false, ...occasion(ports) };
  }
  const action = stepAction(job);
  const worker = ownVerdict(scope, job);
  const own = stricter(worker, scope.options.policy?.(action, job) ?? worker);
  const answer =
    own.kind === "deny" ? { verdict: own } : await controlPlaneVerdict(scope, job, own);
  if ("cancelled" in answer) return { type: "cancel", reason: answer.cancelled };
  if ("failure" in answer) {
    return { type: "failed", failure: answer.failure, costly: false, ...occasion(ports) };
  }
  life.log.info(
    { verdict: answer.verdict.kind, reason: answer.verdict.reason, action: action.name },
    "policy gave its verdict",
  );
  switch (answer.verdict.kind) {
    case "allow":
      return { type: "policy.allowed", verdict: answer.verdict };
    case "deny":
      return { type: "policy.denied", verdict: answer.verdict };
    case "ask": {
      const asks = [toAsk(life.key, action, answer.verdict.reason)];
      return { type: "policy.asked", verdict: answer.verdict, asks };
    }
  }
};

function ownVerdict({ options }: WorkScope, job: Job): Verdict {
  if (job.stepType === "approval") return verdict.ask("an approval step asks a person");
  if (job.stepType !== "tool") return verdict.allow(`${job.stepType} steps run on this worker`);
  const tools = job.input["allowed_tools"];
  const agentTools = Array.isArray(tools) ? tools.filter((tool) => typeof tool === "string") : null;
  return localVerdict(stepAction(job).name, options.allowlist, agentTools);
}

type Answer = { verdict: Verdict } | { failure: Failure } | { cancelled: string };

async function controlPlaneVerdict(scope: WorkScope, job: Job, own: Verdict): Promise<Answer> {
  const { controlPlane } = scope.ports;
  if (job.stepType === "tool") {
    const { name, input } = stepAction(job);
    const check = { runId: job.runId, toolName: name, toolInput: input };
    const checked = await traced("check-tool", () => controlPlane.checkTool(check, scope.signal));
    return checked.ok ? { verdict: stricter(own, checked.value) } : closed(checked.failure);
  }
  // Where nothing is asked of policy, a run that has ended must still not be paid for.
  if (job.stepType === "llm" || job.stepType === "sandbox") {
    const run = await controlPlane.run(job.runId, scope.signal);
    if (!run.ok) return closed(run.failure);
    if (isRunEnded(run.value.status)) {
      return { cancelled: `the run has already ended: ${run.value.status}` };
    }
  }
  return { verdict: own };
}

function closed(failure: Failure): Answer {
  if (!failure.retryable) return { failure };
  const message = `policy can't be asked: ${failure.message}`;
  return { failure: retryable("policy_unavailable", message, failure.retryAfterMs) };
}
