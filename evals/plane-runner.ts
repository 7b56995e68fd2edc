import { setTimeout as sleep } from "node:timers/promises";
import { checked } from "../adapters/control-plane/answer.ts";
import { watchRuns } from "../adapters/control-plane/watch-runs.ts";
import { registerWorkflow } from "../adapters/control-plane/workflows-api.ts";
import {
  fail,
  type Failure,
  type Outcome,
  ok,
  retryable,
} from "../machines/contracts/domain/failure.ts";
import { isJsonObject, type JsonObject } from "../machines/contracts/domain/json.ts";
import { isRunEnded, type RunStatus } from "../machines/contracts/domain/status.ts";
import type { WorkflowDefinition } from "../machines/contracts/domain/workflow.ts";
import { type RunView, runView } from "../machines/contracts/wire/views.ts";
import type { ApprovalAnswers } from "./contracts.ts";
import { type Gathered, gather, infrastructureTrouble, partOf, type Sources } from "./observe.ts";
import { inputOf, placed, type TrialAnswer, type TrialRequest, type TrialRunner } from "./trial.ts";

/** Where changes are pushed, a look now and then is for those that were missed. */
const pushedPauseMs = 1_000;
/** Where they are not: FerrumDeck allows 20 calls a minute, over all who come without a known address. */
const polledPauseMs = 6_000;
/** How long a control plane may be away while a run goes on. */
const mostAwayMs = 30_000;
const awayPauseMs = 500;
const closingMs = 10_000;
/** Changes that came before anybody waited for them, those of others' runs included. */
const mostEarly = 1_000;

export interface PlaneOptions extends Sources {
  place: string;
  projectId: string;
  agent: string;
  /** Each task is its input; without one, a task is a run of the agent. */
  workflow: WorkflowDefinition | null;
  approvals: ApprovalAnswers;
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
  const changes = new Changes();
  // What can't be followed is looked at now and then all the same.
  const isWorthALook = (status: RunStatus) =>
    isRunEnded(status) || status === "waiting_approval" || status === "policy_blocked";
  const onChange = (runId: string, status: RunStatus) => {
    if (isWorthALook(status)) changes.tell(runId, status);
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
    isPushed,
    changes,
  });
  return ok({
    place,
    cancel,
    async run(request) {
      const begun = performance.now();
      const started = await patiently(() => start(options, workflowId, request), request.signal);
      if (!started.ok) return notStarted(started.failure);
      const { id } = started.value;
      await request.onRun(id);
      const counts = { approved: 0, rejected: 0 };
      const ended = await follow(id, counts, request.signal);
      const isCancelled = request.signal.aborted;
      const held = isCancelled ? await heldBy(api, id) : null;
      // A run that nobody follows any more would go on, beside the one that is made in its place.
      if (isCancelled || !ended.ok) await cancel(id);
      const closing = isCancelled ? AbortSignal.timeout(closingMs) : request.signal;
      // Its time is up while nobody could look: that it took so long is not known of it.
      if (!ended.ok && !(isCancelled && ended.failure.kind === "cancelled"))
        return answerOf(ended.failure);
      if (held !== null) return { kind: "broken", problem: held, mayPass: true };
      const known = ended.ok && !isCancelled ? ended.value : null;
      const look = async () => {
        const found = await gather(options, known ?? id, closing);
        const part = found.ok && !isCancelled ? partOf(found.value) : null;
        if (part === null) return found;
        return fail(retryable("unavailable", `${place} shows ${part}`));
      };
      const gathered = await patiently(look, closing);
      if (!gathered.ok) return answerOf(gathered.failure);
      const approvals = counts.approved + counts.rejected === 0 ? {} : { approvals: counts };
      const duration_ms = Math.round(performance.now() - begun);
      const observation = { ...gathered.value, ...approvals, duration_ms };
      // What the eval itself cancelled is late, and nobody else's doing.
      return isCancelled ? { kind: "seen", observation } : seen(observation);
    },
  });
}

/** Why a run whose time is up says nothing of its agent: a model's provider is away, and its steps wait; null where none do. */
async function heldBy(api: PlaneOptions["api"], runId: string): Promise<string | null> {
  const run = await api.run(runId, AbortSignal.timeout(closingMs));
  const steps = run.ok ? (run.value.held_steps ?? 0) : 0;
  if (steps === 0) return null;
  const which = steps === 1 ? "a step" : `${steps} steps`;
  return `its time was up while ${which} waited for a model that can't be asked now`;
}

/** A run that ended by trouble of its surroundings says nothing of the agent. */
function seen(observation: Gathered & { duration_ms: number }): TrialAnswer {
  const trouble = infrastructureTrouble(observation);
  if (trouble === null) return { kind: "seen", observation };
  return { kind: "broken", ...trouble, observation };
}

const notStarted = ({ message, retryable: mayPass, kind }: Failure): TrialAnswer =>
  mayPass || kind === "cancelled"
    ? { kind: "broken", problem: message, mayPass: true }
    : { kind: "refused", problem: message };

/** Of a run that could not be followed or read: what it did is not known, and says nothing of its agent. */
function answerOf({ message, retryable: isPassing, kind }: Failure): TrialAnswer {
  // With this key no other trial could be seen either.
  if (kind === "unauthorized" || kind === "forbidden") return { kind: "refused", problem: message };
  // A control plane that lost the run may keep the next one.
  const mayPass = isPassing || kind === "cancelled" || kind === "not_found";
  return { kind: "broken", problem: message, mayPass };
}

/** Once more, as long as a control plane may be away, while its trouble may pass. */
async function patiently<T>(
  call: () => Promise<Outcome<T>>,
  signal: AbortSignal,
): Promise<Outcome<T>> {
  const begun = performance.now();
  for (;;) {
    const answer = await call();
    if (answer.ok || !answer.failure.retryable || signal.aborted) return answer;
    const waitMs = Math.max(answer.failure.retryAfterMs ?? 0, awayPauseMs);
    if (performance.now() - begun + waitMs > mostAwayMs) return answer;
    await sleep(waitMs, undefined, { signal }).catch(() => {});
  }
}

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
      return runView()({ id: answer["id"], status: "queued" });
    return runView()(answer);
  };
  return checked(await api.call({ method: "POST", path, body, headers }, signal), shape, "run");
}

/** Which runs have changed: whoever waits for one is woken, and a change that came before anybody waited is not lost. */
class Changes {
  readonly #waiting = new Map<string, (status: RunStatus) => void>();
  readonly #early = new Map<string, RunStatus>();

  tell(runId: string, status: RunStatus): void {
    const wake = this.#waiting.get(runId);
    if (wake !== undefined) return wake(status);
    this.#early.set(runId, status);
    // Of others' runs nobody asks.
    const [first] = this.#early.keys();
    if (this.#early.size > mostEarly && first !== undefined) this.#early.delete(first);
  }

  /** The next change, or one that nobody has waited for. */
  next(runId: string): Promise<RunStatus> {
    const { promise, resolve } = Promise.withResolvers<RunStatus>();
    this.#waiting.set(runId, resolve);
    const early = this.#early.get(runId);
    if (early !== undefined) resolve(early);
    this.#early.delete(runId);
    return promise;
  }

  forget(runId: string): void {
    this.#waiting.delete(runId);
    this.#early.delete(runId);
  }
}

interface Following extends PlaneOptions {
  pauseMs: number;
  isPushed: boolean;
  changes: Changes;
}

/** Follows a run to its end; returns it as it was seen then, or its id where it was told that it has ended. */
function followWith({ api, approvals, pauseMs, isPushed, changes }: Following) {
  return async (
    runId: string,
    counts: { approved: number; rejected: number },
    signal: AbortSignal,
  ): Promise<Outcome<RunView | string>> => {
    let away = null as { since: number; failure: Failure } | null;
    const within = async (ms: number, change: Promise<RunStatus>) => {
      const over = new AbortController();
      const pause = sleep(ms, null, { signal: AbortSignal.any([signal, over.signal]) });
      const status = await Promise.race([pause.catch(() => null), change]);
      over.abort();
      return status;
    };
    try {
      let change = changes.next(runId);
      // A run that has only just begun has nothing to tell.
      const first = isPushed ? await within(pauseMs, change) : null;
      if (first !== null && isRunEnded(first)) return ok(runId);
      for (;;) {
        change = changes.next(runId);
        const run = await api.run(runId, signal);
        if (signal.aborted) return away === null ? run : fail(away.failure);
        let waitMs = pauseMs;
        const answered = run.ok ? await answerWaiting(run.value, counts, signal) : run;
        if (signal.aborted) return run;
        if (run.ok && answered.ok) {
          away = null;
          if (answered.value === 0 && isRunEnded(run.value.status)) return run;
          if (answered.value > 0) continue;
        } else if (!answered.ok) {
          away = { since: away?.since ?? performance.now(), failure: answered.failure };
          const isTooLong = performance.now() - away.since > mostAwayMs;
          if (!answered.failure.retryable || isTooLong) return answered;
          waitMs = Math.max(answered.failure.retryAfterMs ?? 0, awayPauseMs);
        }
        const told = await within(waitMs, change);
        if (told !== null && isRunEnded(told)) return ok(runId);
      }
    } finally {
      changes.forget(runId);
    }
  };

  /** Answers what the run asks; returns how many questions that was. One that can't be answered is not the agent's. */
  async function answerWaiting(
    { id: runId, status }: RunView,
    counts: { approved: number; rejected: number },
    signal: AbortSignal,
  ): Promise<Outcome<number>> {
    // FerrumDeck's check-tool blocks a run that only waits for a yes.
    const mayWait = status === "waiting_approval" || status === "policy_blocked";
    if (!mayWait || approvals === "none") return ok(0);
    const isYes = approvals === "approve";
    const asked = await api.approvalsOf(runId, signal);
    if (!asked.ok) return asked;
    let answered = 0;
    for (const { id } of asked.value.filter((one) => one.status === "pending")) {
      const said = await api.resolveApproval(id, isYes, "answered by the eval's suite", signal);
      // Somebody else was faster, or it expired.
      if (!said.ok && (said.failure.kind === "conflict" || said.failure.kind === "refused"))
        continue;
      if (!said.ok) return said;
      answered += 1;
      counts[isYes ? "approved" : "rejected"] += 1;
    }
    return ok(answered);
  }
}
