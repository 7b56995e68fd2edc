import {
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { ControlPlane, Extension } from "../../machines/contracts/ports/control-plane.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import type { Link } from "./link.ts";
import type { PlaneCall } from "./plan.ts";
import type { Plane } from "./plane.ts";
import type { Weather } from "./weather.ts";
import type { Witness } from "./witness.ts";

/** How long a worker waits for an answer. */
const timeoutMs = 3_000;
/** How long what is advertised is remembered. */
const rememberedMs = 10_000;

/** The control plane as one worker reaches it: over a network that delays, loses and refuses. */
export function planePort(
  plane: Plane,
  { link, weather, witness }: { link: Link; weather: Weather; witness: Witness },
  extensions: ReadonlySet<Extension>,
): ControlPlane {
  const { world } = link;
  let known: number | null = null;

  function send<T>(
    call: PlaneCall | null,
    signal: AbortSignal,
    work: () => Outcome<T>,
  ): Promise<Outcome<T>> {
    const { promise, resolve } = Promise.withResolvers<Outcome<T>>();
    const away = (why: string) => fail(retryable("unavailable", why));
    const abort = () => resolve(fail(terminal("cancelled", "given up")));
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    const fate = call === null ? undefined : weather.onTheWay(call);
    const out = 2 + link.draw() * 30 + (fate?.kind === "request-late" ? fate.byMs : 0);
    const back = 2 + link.draw() * 30 + (fate?.kind === "answer-late" ? fate.byMs : 0);
    world.schedule(timeoutMs, () => resolve(away("no answer in time")));
    if (fate?.kind !== "request-lost") {
      world.schedule(out, () => {
        if (weather.isPlaneAway) {
          if (link.draw() < 0.5) world.schedule(1, () => resolve(away("connection refused")));
          return;
        }
        if (fate?.kind === "throttled") {
          const { retryAfterMs } = fate;
          world.schedule(back, () =>
            resolve(fail(retryable("rate_limited", "slow down", retryAfterMs))),
          );
          return;
        }
        const outcome = work();
        if (fate?.kind !== "answer-lost") world.schedule(back, () => resolve(outcome));
      });
    }
    return promise.finally(() => signal.removeEventListener("abort", abort));
  }

  return {
    ping: (signal) => send(null, signal, () => ok(null)),
    async extensions(signal) {
      if (known !== null && world.elapsed - known < rememberedMs) return ok(extensions);
      const answer = await send(null, signal, () => ok(extensions));
      if (answer.ok) known = world.elapsed;
      return answer;
    },
    checkTool: ({ runId, toolInput }, signal) =>
      send("checkTool", signal, () => plane.checkTool(runId, String(toolInput["ref"]))),
    report(report, signal) {
      const { stepId, body } = report;
      // A report is judged by when it left the worker.
      const seen = {
        stepId,
        by: link.name,
        at: link.askedAt,
        isStale: witness.isStale(stepId, link.name, link.askedAt),
        status: body.status,
        failure: body.error === undefined ? null : String(body.error["kind"]),
      };
      return send("report", signal, () => {
        const outcome = plane.report(report);
        const reception = outcome.ok ? outcome.value : outcome.failure.kind;
        witness.reports.push({ ...seen, reception });
        world.note("plane", `${stepId} ${body.status} from ${link.name}: ${reception}`);
        return outcome;
      });
    },
    requestApproval: (step, ask, signal) =>
      send("requestApproval", signal, () => plane.requestApproval(step, ask)),
    findApproval: (id, signal) => send("findApproval", signal, () => plane.findApproval(id)),
    run: (runId, signal) => send("run", signal, () => plane.run(runId)),
    steps: (runId, signal) => send(null, signal, () => plane.stepsOf(runId)),
  };
}

/** Run changes pushed to one worker; those of an outage are lost. */
export function pushedRuns(
  plane: Plane,
  { link, weather }: { link: Link; weather: Weather },
): NonNullable<RuntimePorts["watchRuns"]> {
  return (onChange, signal) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const listener = (runId: string, status: string) => {
      if (weather.isPlaneAway) return;
      link.world.schedule(2 + link.draw() * 30, () =>
        link.gate.pass(() => {
          if (!signal.aborted) onChange(runId, status);
        }),
      );
    };
    plane.listeners.add(listener);
    signal.addEventListener("abort", () => {
      plane.listeners.delete(listener);
      resolve();
    });
    return promise;
  };
}
