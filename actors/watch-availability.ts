import { BoxedMap } from "../machines/contracts/domain/boxed-map.ts";
import { type Outcome, retryable } from "../machines/contracts/domain/failure.ts";
import type { ControlPlane } from "../machines/contracts/ports/control-plane.ts";
import type { RuntimePorts } from "./ports.ts";
import { pause } from "./sources/periodic.ts";

const probeMs = 1_000;
/** One failed call means little; this many in a row, with no answer between, is an outage. */
const callsInARow = 3;
/** How long a call may take where the port does not say, milliseconds. */
const usualCallMs = 60_000;
/** How far a call may outlive its own deadline before this process is taken to be broken, milliseconds. */
const marginMs = 15_000;

/**
 * Watches the control plane through the calls the steps make anyway. After several calls in a row without
 * an answer it counts as away, and is probed until it is back; meanwhile the worker takes no more jobs.
 *
 * A call that outlives its own deadline by a margin can only be a fault of this process (a leaked connection, a lost
 * callback): its caller is answered `unavailable`, and `onFault` hears of it, so that the worker ends and another
 * one takes over instead of renewing leases for ever over steps that can say nothing.
 */
export function watchAvailability(
  { controlPlane, clock, log }: Pick<RuntimePorts, "controlPlane" | "clock" | "log">,
  track: (work: Promise<unknown>) => void,
): {
  controlPlane: ControlPlane;
  onChange: (listener: (isAway: boolean) => void) => void;
  onFault: (listener: (message: string) => void) => void;
  stop: () => void;
} {
  const stopped = new AbortController();
  const { budgets } = controlPlane;
  let listener = (_isAway: boolean) => {};
  let faultListener = (_message: string) => {};
  let unanswered = 0;
  let isAway = false;
  const worstMs = (controlPlane.callTimeoutMs ?? usualCallMs) + marginMs;

  const turn = (away: boolean, reason = "") => {
    if (isAway === away || stopped.signal.aborted) return;
    isAway = away;
    if (away)
      log.warn(
        { reason },
        `the control plane can't be used (${reason}): no more jobs are taken until it can`,
      );
    else log.info({}, "the control plane is back");
    listener(away);
    if (away) track(probe());
  };
  const probe = async () => {
    while (isAway && !stopped.signal.aborted) {
      await pause(clock, probeMs, stopped.signal);
      if (stopped.signal.aborted) return;
      try {
        await seen("ping", controlPlane.ping(stopped.signal));
      } catch (error) {
        // One exception must not leave the worker away for ever.
        log.warn({ err: error }, "the control plane could not be probed; it is probed again");
      }
    }
  };
  const seen = async <T>(name: string, call: Promise<Outcome<T>>): Promise<Outcome<T>> => {
    const outcome = await withinReason(name, call);
    if (outcome.ok || outcome.failure.kind !== "unavailable") {
      unanswered = 0;
      turn(false);
      return outcome;
    }
    unanswered += 1;
    if (unanswered >= callsInARow) turn(true, outcome.failure.message);
    return outcome;
  };
  // All may take the same time, so the oldest is due first, and one timer watches over all of them.
  const underWay = new BoxedMap<number, { due: number; giveUp: () => void }>();
  let lastId = 0;
  let isWatched = false;
  let cancelWatch = () => {};
  /** Once all is over the timer would only keep its process alive. */
  const endWatch = () => {
    if (stopped.signal.aborted && underWay.size === 0) cancelWatch();
  };
  const watchOldest = () => {
    const [oldest] = underWay.values();
    isWatched = oldest !== undefined;
    if (oldest === undefined) return;
    cancelWatch = clock.timer(Math.max(oldest.due - clock.monotonic(), 1), () => {
      const now = clock.monotonic();
      for (const [id, call] of underWay) {
        if (call.due > now) break;
        underWay.delete(id);
        call.giveUp();
      }
      watchOldest();
    });
  };
  const withinReason = <T>(name: string, call: Promise<Outcome<T>>): Promise<Outcome<T>> =>
    new Promise((resolve, reject) => {
      const giveUp = () => {
        const message = `a call to the control plane (${name}) had no end after ${worstMs} ms, long past its own deadline`;
        resolve({ ok: false, failure: retryable("unavailable", message) });
        if (stopped.signal.aborted) return;
        log.error({ call: name }, `${message}: this worker is at fault and ends`);
        faultListener(message);
      };
      const id = (lastId += 1);
      underWay.set(id, { due: clock.monotonic() + worstMs, giveUp });
      if (!isWatched) watchOldest();
      call.then(
        (outcome) => {
          underWay.delete(id);
          endWatch();
          resolve(outcome);
        },
        (error: unknown) => {
          underWay.delete(id);
          endWatch();
          reject(error);
        },
      );
    });
  return {
    controlPlane: {
      ping: (signal) => seen("ping", controlPlane.ping(signal)),
      // A good answer may be from a cache, which says nothing of the present; a failure never is.
      extensions: async (signal) => {
        const outcome = await withinReason("extensions", controlPlane.extensions(signal));
        return outcome.ok ? outcome : seen("extensions", Promise.resolve(outcome));
      },
      checkTool: (check, signal) => seen("checkTool", controlPlane.checkTool(check, signal)),
      report: (report, signal) => seen("report", controlPlane.report(report, signal)),
      requestApproval: (step, ask, signal) =>
        seen("requestApproval", controlPlane.requestApproval(step, ask, signal)),
      budgets: budgets && {
        reserve: (reservation, signal) => seen("reserve", budgets.reserve(reservation, signal)),
        settle: (used, signal) => seen("settle", budgets.settle(used, signal)),
      },
      findApproval: (id, signal) => seen("findApproval", controlPlane.findApproval(id, signal)),
      run: (runId, signal) => seen("run", controlPlane.run(runId, signal)),
      steps: (runId, signal) => seen("steps", controlPlane.steps(runId, signal)),
    },
    onChange: (given) => {
      listener = given;
    },
    onFault: (given) => {
      faultListener = given;
    },
    stop: () => {
      stopped.abort();
      endWatch();
    },
  };
}
