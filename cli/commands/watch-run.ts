import { setTimeout as sleep } from "node:timers/promises";
import { watchRuns } from "../../adapters/control-plane/watch-runs.ts";
import { isRunEnded, type RunStatus } from "../../machines/contracts/domain/status.ts";
import { ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { RunView, StepView } from "../../machines/contracts/wire/views.ts";
import type { SaidText } from "../../machines/contracts/ports/control-plane.ts";
import type { Output } from "../output/output.ts";
import { failureError } from "../output/errors.ts";
import { plain } from "../output/plain.ts";
import { callLines, namedStepLine, runLine, stepLine } from "./runs.ts";
import type { Client } from "./with-control-plane.ts";
import { commandLine } from "../called-as.ts";

/** Where changes are pushed, a look now and then is for those missed while disconnected and for steps. */
const pushedPauseMs = 1_000;
/** FerrumDeck allows 20 calls a minute, over all who come without a known address. */
const pollPauseMs = 6_000;
/** The last words of a step come by another way than the change that ends it, and a little later. */
const lastWordsMs = 200;
/** A control plane that stays away is told of again. */
const sayAwayEveryMs = 30_000;
/** After so long without a change it is said where to look for what a step waits for. */
const stillMs = 30_000;
/** A worker that is free has a job sooner. */
const takenMs = 5_000;

export interface WatchOptions {
  /** The command that watches the run once more. */
  again?: string;
  /** The run stands still without this program, whose own control plane has it. */
  isOwn?: boolean;
  /** Steps are told by their names, where they have any. */
  isByName?: boolean;
  /** Called after each look at a run that waits for a person. */
  onWaiting?: () => Promise<void>;
}

/**
 * Tells each change of a run and its steps until the run has ended or the user has had enough; how it ended is the last
 * line. A control plane that goes away meanwhile is waited for.
 *
 * @returns 0 when the run completed, 1 when it ended otherwise, 130 when cancelled
 */
export async function watchRun(
  client: Client,
  runId: string,
  output: Output,
  options: WatchOptions = {},
): Promise<number> {
  const { signal } = client;
  const health = await client.api.health(signal);
  const isPushed = health.ok && (health.value.extensions ?? []).includes("events");
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  let change = Promise.withResolvers<void>();
  const { again = commandLine(`runs watch ${runId}`), onWaiting } = options;
  const teller = createTeller(output, options);
  let left = new AbortController();
  const pushings: Promise<unknown>[] = [];
  const push = () => {
    if (!isPushed) return;
    const here = AbortSignal.any([until, left.signal]);
    const onChange = (id: string) => id === runId && change.resolve();
    const onText = (said: SaidText) => said.runId === runId && teller.text(said);
    pushings.push(watchRuns(client.api, onChange, here, onText));
  };
  push();
  const leave = () => {
    const state = options.isOwn === true ? "the run has not ended" : "the run goes on";
    output.remark(`${state}; watch it again: ${again}`);
    return 130;
  };
  try {
    for (let isFirst = true; ; isFirst = false) {
      change = Promise.withResolvers<void>();
      const looked = await look(client, runId, teller, { isPushed, isFirst });
      if (!looked.ok) {
        if (signal.aborted) return leave();
        const { failure } = looked;
        if (!isFirst && (await client.moved())) {
          left.abort();
          left = new AbortController();
          push();
          teller.moved(client.api.http.url);
          continue;
        }
        if (isFirst || !failure.retryable) throw failureError(failure);
        teller.away(failure.message);
        await sleep(failure.retryAfterMs ?? 0, undefined, { signal }).catch(() => {});
      }
      const run = looked.ok ? looked.value : null;
      if (run !== null && isRunEnded(run.status)) return run.status === "completed" ? 0 : 1;
      if (run?.status === "waiting_approval") await onWaiting?.();
      else if (run !== null) teller.still(runId);
      const pauseMs = isPushed ? pushedPauseMs : pollPauseMs;
      const pause = sleep(pauseMs, undefined, { signal: until }).catch(() => {});
      await Promise.race([pause, change.promise]);
      if (teller.isSpeaking()) await sleep(lastWordsMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return leave();
    }
  } catch (error) {
    if (signal.aborted) return leave();
    throw error;
  } finally {
    over.abort();
    await Promise.all(pushings);
  }
}

type Teller = ReturnType<typeof createTeller>;

/** One look at the run, and at its steps where that is worth a call. */
async function look(
  { api, signal }: Client,
  runId: string,
  teller: Teller,
  { isPushed, isFirst }: { isPushed: boolean; isFirst: boolean },
): Promise<Outcome<RunView>> {
  const run = await api.run(runId, signal);
  if (!run.ok) return run;
  const isNew = teller.isNew(run.value);
  // The run before its steps at first, but the last line tells how it ended, where it has ended by now, too.
  if (isFirst && !isRunEnded(run.value.status)) teller.run(run.value);
  if (isPushed || isNew) {
    const steps = await api.steps(runId, signal);
    if (steps.ok) steps.value.forEach(teller.step);
  }
  teller.run(run.value);
  return ok(run.value);
}

function createTeller(output: Output, { isByName = false, isOwn, onWaiting }: WatchOptions) {
  let runStatus: RunStatus | null = null;
  /** When it was last told that the control plane is away; null while it is there. */
  let awaySince: number | null = null;
  /** The step whose model speaks, and is in the middle of a line. */
  let speaking: string | null = null;
  /** When something was last told; null once it was said that nothing is. */
  let toldAt: number | null = performance.now();
  // A worker of this program's own is here.
  let isWorkerMissed = isOwn === true;
  const line = (text: string) => {
    toldAt = performance.now();
    if (speaking !== null) output.text("\n");
    speaking = null;
    output.line(text);
  };
  const stepStatus = new Map<string, string>();
  const names = new Map<string, string>();
  return {
    isNew: (run: RunView) => run.status !== runStatus,
    run(run: RunView) {
      awaySince = null;
      if (run.status === runStatus) return;
      runStatus = run.status;
      if (output.isJson) output.json({ kind: "run", run });
      else line(runLine(run, output));
      if (run.status === "waiting_approval" && onWaiting === undefined) {
        output.remark(`it waits for a person: ${commandLine("approvals list")}`);
      }
    },
    step(step: StepView) {
      if (isByName && step.name) names.set(step.id, step.name);
      if (stepStatus.get(step.id) === step.status) return;
      stepStatus.set(step.id, step.status);
      if (output.isJson) output.json({ kind: "step", step });
      else {
        line(isByName ? namedStepLine(step, output) : stepLine(step, output));
        for (const call of callLines(step)) line(call);
      }
    },
    isSpeaking: () => speaking !== null,
    still(runId: string) {
      if (output.isJson || speaking !== null) return;
      if (toldAt === null) return;
      const quietMs = performance.now() - toldAt;
      if (
        !isWorkerMissed &&
        quietMs >= takenMs &&
        (runStatus === "created" || runStatus === "queued")
      ) {
        isWorkerMissed = true;
        output.remark(
          `no worker has taken it yet, as far as the control plane has heard; to start one: ${commandLine("worker")}`,
        );
      }
      if (quietMs < stillMs) return;
      toldAt = null;
      const open = [...stepStatus].find(([, status]) => /^(?:pending|running)$/u.test(status));
      if (open === undefined) return;
      const show = commandLine(`steps show ${runId} ${open[0]}`);
      output.remark(
        `nothing has changed for ${stillMs / 1_000} s; what the step waits for: ${show}`,
      );
    },
    /** What the model says, as it says it. */
    text({ stepId, text, restart }: SaidText) {
      if (runStatus !== null && isRunEnded(runStatus)) return;
      if (output.isJson) {
        speaking = stepId;
        const more = restart === true ? { restart } : {};
        return output.json({ kind: "text", step_id: stepId, text, ...more });
      }
      if (restart === true && speaking === stepId) {
        line(output.colors.dim("(the answer broke off there and starts again)"));
      }
      if (text === "") return;
      if (speaking !== stepId)
        line(output.colors.dim(`step  ${plain(names.get(stepId) ?? stepId)}  says`));
      speaking = stepId;
      output.text(text);
    },
    away(reason: string) {
      const now = performance.now();
      if (awaySince !== null && now - awaySince < sayAwayEveryMs) return;
      output.remark(`${reason}; trying again${awaySince === null ? "" : " (still)"}`);
      awaySince = now;
    },
    moved(url: string) {
      output.remark(`\`dev\` was started again: following the run at ${url}`);
      awaySince = null;
    },
  };
}
