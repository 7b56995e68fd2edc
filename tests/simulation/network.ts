import type { RuntimePorts } from "../../actors/ports.ts";
import { type Answer as Told, toFailure } from "../../adapters/control-plane/answer.ts";
import type { ApiRequest, ControlPlaneHttp } from "../../adapters/control-plane/http.ts";
import {
  fail,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ActiveFaults } from "./faults.ts";
import type { Link } from "./link.ts";
import type { Plane } from "./plane.ts";
import { type Answer, answerOf, callOf, misanswer, refusedKey } from "./plane-http.ts";
import type { Witness } from "./witness.ts";

/** How long a worker waits for an answer. */
const timeoutMs = 3_000;

/**
 * HTTP from one worker to the control plane, over a network that delays, loses, refuses, and answers in its
 * place. The client on top of it is the one that ships.
 */
export function simulatedHttp(
  plane: Plane,
  { link, faults, witness }: { link: Link; faults: ActiveFaults; witness: Witness },
): ControlPlaneHttp {
  const { world } = link;

  function call(request: ApiRequest, signal: AbortSignal): Promise<Outcome<Told>> {
    const { promise, resolve } = Promise.withResolvers<Outcome<Told>>();
    const name = `${request.method} ${request.path}`;
    const away = (why: string) => fail(retryable("unavailable", `${name}: ${why}`));
    const abort = () => resolve(fail(terminal("cancelled", `${name}: cancelled`)));
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    const asked = callOf(request);
    const fate = faults.onTheWay(asked);
    const slow = asked === "health" ? faults.healthLateMs : 0;
    const out = 2 + link.draw() * 30 + (fate?.kind === "request-late" ? fate.byMs : 0);
    const back = 2 + link.draw() * 30 + (fate?.kind === "answer-late" ? fate.byMs : 0) + slow;
    const sent = asked === "report" ? seenReport(request, { link, witness }) : null;
    const answerWith = (answer: Answer) =>
      world.schedule(back, () => {
        const isGood = answer.status >= 200 && answer.status < 300;
        const told = { call: name, ...answer };
        resolve(isGood ? ok(told) : fail(toFailure(told, world.now())));
      });
    const arrive = () => {
      const answer = answerOf(plane, request);
      if (sent !== null) {
        const reception = receptionOf(answer);
        witness.reports.push({ ...sent, at: world.elapsed, reception });
        world.note("plane", `${sent.stepId} ${sent.status} from ${link.name}: ${reception}`);
      }
      return answer;
    };
    world.schedule(timeoutMs, () => resolve(away(`no answer within ${timeoutMs} ms`)));
    if (fate?.kind !== "request-lost") {
      world.schedule(out, () => {
        if (faults.isPlaneAway) {
          if (link.draw() < 0.5) world.schedule(1, () => resolve(away("ECONNREFUSED")));
          return;
        }
        if (faults.proxy !== null) return void answerWith(misanswer(faults.proxy));
        if (faults.isKeyRefused && asked !== "health") return void answerWith(refusedKey);
        if (fate?.kind === "throttled") {
          const headers = { "retry-after": String(Math.ceil(fate.retryAfterMs / 1_000)) };
          return void answerWith({ status: 429, headers, body: {} });
        }
        if (fate?.kind === "misanswered" && !fate.reached) {
          return void answerWith(misanswer(fate.how));
        }
        const answer = arrive();
        if (fate?.kind === "misanswered") return void answerWith(misanswer(fate.how));
        if (fate?.kind !== "answer-lost") answerWith(answer);
      });
    }
    return promise
      .then((outcome) => {
        const isEnd = sent !== null && sent.status !== "waiting_approval";
        // That it has ended already is an answer, and the end's own line may have to wait for the store.
        if (isEnd && !outcome.ok && outcome.failure.kind !== "conflict" && !signal.aborted) {
          witness.delayed.push({ ...sent, at: world.elapsed });
        }
        return outcome;
      })
      .finally(() => signal.removeEventListener("abort", abort));
  }

  return {
    url: "http://plane.example",
    timeoutMs,
    call,
    stream: async () => fail(terminal("not_found", "pushed changes come by another way here")),
    close: async () => {},
  };
}

/** A report is judged by when it left the worker. */
function seenReport(
  { path, body }: ApiRequest,
  { link, witness }: { link: Link; witness: Witness },
) {
  const stepId = path.split("/").at(-1) ?? "";
  const { status, error } = body as { status: string; error?: JsonObject };
  return {
    stepId,
    by: link.name,
    at: link.world.elapsed,
    askedAt: link.askedAt,
    isStale: witness.isStale(stepId, link.name, link.askedAt),
    status,
    failure: error === undefined ? null : String(error["kind"]),
  };
}

function receptionOf({ status, headers, body }: Answer): string {
  if (status === 200) return headers["idempotency-replayed"] === "true" ? "repeated" : "accepted";
  const code = String((body as { error?: JsonObject }).error?.["code"]);
  return code === "CONFLICT" ? "ended" : code.toLowerCase();
}

/** Run changes pushed to one worker; those of an outage are lost. */
export function pushedRuns(
  plane: Plane,
  { link, faults }: { link: Link; faults: ActiveFaults },
): NonNullable<RuntimePorts["watchRuns"]> {
  return (onChange, signal) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const listener = (runId: string, status: string) => {
      if (faults.isPlaneAway) return;
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
