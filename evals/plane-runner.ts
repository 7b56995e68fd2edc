import { setTimeout as sleep } from "node:timers/promises";
import type { ControlPlaneApi } from "../adapters/control-plane/api.ts";
import { checked } from "../adapters/control-plane/answer.ts";
import { watchRuns } from "../adapters/control-plane/watch-runs.ts";
import { registerWorkflow } from "../adapters/control-plane/workflows-api.ts";
import { type Failure, type Outcome, ok } from "../machines/contracts/domain/failure.ts";
import { isJsonObject, type JsonObject } from "../machines/contracts/domain/json.ts";
import { isRunEnded, type RunStatus } from "../machines/contracts/domain/status.ts";
import type { WorkflowDefinition } from "../machines/contracts/domain/workflow.ts";
import { type RunView, runView } from "../machines/contracts/wire/views.ts";
import type { ApprovalAnswers, Observation } from "./contracts.ts";
import { type Gathered, gather, infrastructureTrouble } from "./observe.ts";
import { inputOf, placed, type TrialAnswer, type TrialRequest, type TrialRunner } from "./trial.ts";

/** Where changes are pushed, a look now and then is for those that were missed. */
const pushedPauseMs = 1_000;
/** Where they are not: FerrumDeck allows 20 calls a minute, over all who come without a known address. */
const polledPauseMs = 6_000;
/** How long a control plane may be away while a run goes on. */
const mostAwayMs = 30_000;
const closingMs = 10_000;

export interface PlaneOptions {
  api: ControlPlaneApi;
  place: string;
  projectId: string;
  agent: string;
  /** Each task is its input; without one, a task is a run of the agent. */
  workflow: WorkflowDefinition | null;
  approvals: ApprovalAnswers;
  /** The states that a step passed, where this process can see them. */
  statesOf?: (stepId: string) => Observation["steps"][number]["states"];
  /** Ends the following of the control plane's events. */
  signal: AbortSignal;
}

export type PlaneRunner = TrialRunner & Required<Pick<TrialRunner, "cancel">>;

/** Makes each trial a real run of a control plane. */
export async function planeRunner(options: PlaneOptions): Promise<Outcome<PlaneRunner>> {
  const { api, place, signal } = options;
  const health = await api.health(signal);
  if (!health.ok) return health;
  const { extensions = [] } = health.value;
  const isPushed = extensions.includes("events");
  const waiting = new Map<string, () => void>();
  // What can't be followed is looked at now and then all the same.
  const isWorthALook = (status: RunStatus) =>
    isRunEnded(status) || status === "waiting_approval" || status === "policy_blocked";
  const onChange = (runId: string, status: RunStatus) => {
    if (isWorthALook(status)) waiting.get(runId)?.();
  };
  if (isPushed) void watchRuns(api, onChange, signal);
  let workflowId: string | null = null;
  if (options.workflow !== null) {
    const { workflow: definition, projectId } = options;
    const registered = await registerWorkflow(api, { definition, projectId }, signal);
    if (!registered.ok) return registered;
    workflowId = registered.value.id;
  }
  const cancel = async (runId: string) => {
    await api.cancel(runId, AbortSignal.timeout(closingMs));
  };
  const follow = followWith({
    ...options,
    pauseMs: isPushed ? pushedPauseMs : polledPauseMs,
    waiting,
  });
  return ok({
    place,
    cancel,
    async run(request) {
      const begun = performance.now();
      const started = await start(options, workflowId, request);
      if (!started.ok) return answerOf(started.failure);
      const { id } = started.value;
      await request.onRun(id);
      const counts = { approved: 0, rejected: 0 };
      const ended = await follow(id, counts, request.signal);
      if (request.signal.aborted) await cancel(id);
      const closing = request.signal.aborted ? AbortSignal.timeout(closingMs) : request.signal;
      if (!ended.ok && !request.signal.aborted) return answerOf(ended.failure);
      const known = ended.ok && !request.signal.aborted ? ended.value : null;
      const gathered = await gather(api, known ?? id, closing, options.statesOf);
      if (!gathered.ok) return answerOf(gathered.failure);
      const approvals = counts.approved + counts.rejected === 0 ? {} : { approvals: counts };
      const duration_ms = Math.round(performance.now() - begun);
      return seen({ ...gathered.value, ...approvals, duration_ms });
    },
  });
}

/** A run that ended by trouble of its surroundings says nothing of the agent. */
function seen(observation: Gathered & { duration_ms: number }): TrialAnswer {
  const trouble = infrastructureTrouble(observation);
  if (trouble === null) return { kind: "seen", observation };
  return { kind: "broken", ...trouble, observation };
}

const answerOf = ({ message, retryable, kind }: Failure): TrialAnswer =>
  retryable || kind === "cancelled"
    ? { kind: "broken", problem: message, mayPass: true }
    : { kind: "refused", problem: message };

async function start(
  { api, agent }: PlaneOptions,
  workflowId: string | null,
  { task, folder, key, signal }: TrialRequest,
): Promise<Outcome<Pick<RunView, "id">>> {
  const input = inputOf(task, folder);
  // What is the eval's own is not the run's.
  const { steps, timeout_ms: _timeout, ...rest } = task.config;
  const config = Object.keys(rest).length === 0 ? {} : { config: rest };
  const planned =
    steps === undefined ? {} : { steps: folder === null ? steps : placed(steps, folder.name) };
  const headers = { "idempotency-key": key };
  const body: JsonObject =
    workflowId === null
      ? { agent_id: agent, input, ...config, ...planned }
      : { workflow_id: workflowId, agent_id: agent, input, ...config };
  const path = workflowId === null ? "/v1/runs" : "/v1/workflow-runs";
  const shape = (answer: unknown) => {
    // A workflow's run is told in fewer words.
    if (workflowId !== null && isJsonObject(answer) && typeof answer["id"] === "string")
      return runView({ id: answer["id"], status: "queued" });
    return runView(answer);
  };
  return checked(await api.call({ method: "POST", path, body, headers }, signal), shape, "run");
}

interface Following extends PlaneOptions {
  pauseMs: number;
  /** What wakes whoever waits for a run. */
  waiting: Map<string, () => void>;
}

function followWith({ api, approvals, pauseMs, waiting }: Following) {
  return async (
    runId: string,
    counts: { approved: number; rejected: number },
    signal: AbortSignal,
  ): Promise<Outcome<RunView>> => {
    let awaySince: number | null = null;
    try {
      for (;;) {
        const change = Promise.withResolvers<void>();
        waiting.set(runId, change.resolve);
        const run = await api.run(runId, signal);
        if (signal.aborted) return run;
        let waitMs = pauseMs;
        if (run.ok) {
          awaySince = null;
          const { status } = run.value;
          // FerrumDeck's check-tool blocks a run that only waits for a yes.
          const mayWait = status === "waiting_approval" || status === "policy_blocked";
          const answered = mayWait ? await answer(runId, counts, signal) : 0;
          if (answered === 0 && isRunEnded(status)) return run;
          if (answered > 0) continue;
        } else {
          awaySince ??= performance.now();
          const isTooLong = performance.now() - awaySince > mostAwayMs;
          if (!run.failure.retryable || isTooLong) return run;
          waitMs = Math.max(run.failure.retryAfterMs ?? 0, 500);
        }
        const over = new AbortController();
        const pause = sleep(waitMs, undefined, { signal: AbortSignal.any([signal, over.signal]) });
        await Promise.race([pause.catch(() => {}), change.promise]);
        over.abort();
      }
    } finally {
      waiting.delete(runId);
    }
  };

  /** Answers what the run asks; returns how many questions that was. */
  async function answer(
    runId: string,
    counts: { approved: number; rejected: number },
    signal: AbortSignal,
  ): Promise<number> {
    if (approvals === "none") return 0;
    const isYes = approvals === "approve";
    const open = await api.approvals(100, signal);
    let answered = 0;
    for (const { id, run_id: of } of open.ok ? open.value : []) {
      if (of !== runId) continue;
      const said = await api.resolveApproval(id, isYes, "answered by the eval's suite", signal);
      if (!said.ok) continue;
      answered += 1;
      counts[isYes ? "approved" : "rejected"] += 1;
    }
    return answered;
  }
}
