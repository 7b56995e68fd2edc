import type { Outcome } from "../machines/contracts/domain/failure.ts";
import type { ControlPlane } from "../machines/contracts/ports/control-plane.ts";
import type { RuntimePorts } from "./ports.ts";
import { pause } from "./sources/periodic.ts";

const probeMs = 1_000;
/** One failed call is weather; this many in a row, with no answer between, is an outage. */
const callsInARow = 3;

/**
 * Watches the control plane through the calls the steps make anyway. After several calls in a row without
 * an answer it counts as away, and is probed until it is back; meanwhile the worker takes no more jobs.
 */
export function watchAvailability(
  { controlPlane, clock, log }: Pick<RuntimePorts, "controlPlane" | "clock" | "log">,
  track: (work: Promise<unknown>) => void,
): {
  controlPlane: ControlPlane;
  onChange: (listener: (isAway: boolean) => void) => void;
  stop: () => void;
} {
  const stopped = new AbortController();
  let listener = (_isAway: boolean) => {};
  let unanswered = 0;
  let isAway = false;

  const turn = (away: boolean) => {
    if (isAway === away || stopped.signal.aborted) return;
    isAway = away;
    if (away)
      log.warn({}, "the control plane can't be reached: no more jobs are taken until it is back");
    else log.info({}, "the control plane is back");
    listener(away);
    if (away) track(probe());
  };
  const probe = async () => {
    while (isAway && !stopped.signal.aborted) {
      await pause(clock, probeMs, stopped.signal);
      if (stopped.signal.aborted) return;
      await seen(controlPlane.ping(stopped.signal));
    }
  };
  const seen = async <T>(call: Promise<Outcome<T>>): Promise<Outcome<T>> => {
    const outcome = await call;
    const isAnswer = outcome.ok || outcome.failure.kind !== "unavailable";
    unanswered = isAnswer ? 0 : unanswered + 1;
    if (isAnswer) turn(false);
    else if (unanswered >= callsInARow) turn(true);
    return outcome;
  };
  return {
    controlPlane: {
      ping: (signal) => seen(controlPlane.ping(signal)),
      // A good answer may be from a cache, which says nothing of the present; a failure never is.
      extensions: async (signal) => {
        const outcome = await controlPlane.extensions(signal);
        return outcome.ok ? outcome : seen(Promise.resolve(outcome));
      },
      checkTool: (check, signal) => seen(controlPlane.checkTool(check, signal)),
      report: (report, signal) => seen(controlPlane.report(report, signal)),
      requestApproval: (step, ask, signal) => seen(controlPlane.requestApproval(step, ask, signal)),
      findApproval: (id, signal) => seen(controlPlane.findApproval(id, signal)),
      run: (runId, signal) => seen(controlPlane.run(runId, signal)),
      steps: (runId, signal) => seen(controlPlane.steps(runId, signal)),
    },
    onChange: (given) => {
      listener = given;
    },
    stop: () => stopped.abort(),
  };
}
