import { type Failure, retryable } from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { stepInputProblem } from "../../machines/contracts/domain/step-input.ts";
import { isRunEnded } from "../../machines/contracts/domain/status.ts";
import { type Verdict, verdict } from "../../machines/contracts/domain/action.ts";
import { stepAction, toAsk } from "./approvals.ts";
import { traced } from "../tracing.ts";
import { retryStamp, type StepActivity, type ActivityScope } from "./session.ts";
import type { Allowlist } from "../options.ts";

/**
 * The worker's own policy first, which costs no round trip to deny; then the control plane's. Closed when
 * either can't answer: a failure is retried, and at last reported, but never passes as a yes.
 */
export const checkPolicy: StepActivity = async (scope) => {
  const { ports, session, context } = scope;
  const { job } = context;
  if (job === null) throw new Error("a job without content reached policy-check");
  const problem = stepInputProblem(job.stepType, job.input);
  if (problem !== null) {
    return { type: "activity.failed", failure: problem, costly: false, ...retryStamp(ports) };
  }
  const action = stepAction(job);
  const worker = ownVerdict(scope, job);
  const own = stricter(worker, scope.options.policy?.(action, job) ?? worker);
  const answer =
    own.kind === "deny" ? { verdict: own } : await controlPlaneVerdict(scope, job, own);
  if ("cancelled" in answer) return { type: "cancel.requested", reason: answer.cancelled };
  if ("failure" in answer) {
    return {
      type: "activity.failed",
      failure: answer.failure,
      costly: false,
      ...retryStamp(ports),
    };
  }
  session.log.info(
    { verdict: answer.verdict.kind, reason: answer.verdict.reason, action: action.name },
    "policy gave its verdict",
  );
  switch (answer.verdict.kind) {
    case "allow":
      return { type: "policy.allowed", verdict: answer.verdict };
    case "deny":
      return { type: "policy.denied", verdict: answer.verdict };
    case "ask": {
      const asks = [toAsk(session.key, action, answer.verdict.reason)];
      return { type: "policy.asked", verdict: answer.verdict, asks };
    }
  }
};

function ownVerdict({ options }: ActivityScope, job: Job): Verdict {
  if (job.stepType === "approval") return verdict.ask("an approval step asks a person");
  if (job.stepType !== "tool") return verdict.allow(`${job.stepType} steps run on this worker`);
  const tools = job.input["allowed_tools"];
  const agentTools = Array.isArray(tools) ? tools.filter((tool) => typeof tool === "string") : null;
  return localVerdict(stepAction(job).name, options.allowlist, agentTools);
}

type Answer = { verdict: Verdict } | { failure: Failure } | { cancelled: string };

async function controlPlaneVerdict(scope: ActivityScope, job: Job, own: Verdict): Promise<Answer> {
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

/**
 * The worker's own say on a tool: denied, then asked for, then allowed; anything else is denied. A tool may be
 * addressed as `server.tool`; the lists speak of it by either name.
 *
 * @param agentTools the tools of the job's agent, where the job names them: they narrow, never widen
 */
export function localVerdict(
  tool: string,
  allowlist: Allowlist,
  agentTools: readonly string[] | null,
): Verdict {
  const names = [tool, tool.slice(tool.indexOf(".") + 1)];
  const isOn = (list: readonly string[]) => names.some((name) => list.includes(name));
  if (isOn(allowlist.denied)) return verdict.deny(`tool '${tool}' is denied on this worker`);
  if (!isOn(allowlist.allowed) && !isOn(allowlist.approvalRequired)) {
    return verdict.deny(`tool '${tool}' is not on this worker's allowlist`);
  }
  if (agentTools !== null && !isOn(agentTools)) {
    return verdict.deny(`tool '${tool}' is not among the agent's allowed tools`);
  }
  return isOn(allowlist.approvalRequired)
    ? verdict.ask(`tool '${tool}' needs approval on this worker`)
    : verdict.allow(`tool '${tool}' is on this worker's allowlist`);
}

const strictness = { allow: 0, ask: 1, deny: 2 };

/** The stricter of two verdicts; of two alike, the second, which has the last word. */
export function stricter(first: Verdict, second: Verdict): Verdict {
  return strictness[first.kind] > strictness[second.kind] ? first : second;
}
