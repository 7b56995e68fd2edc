/*
 * What counts as an answer of the control plane.
 *
 * Between a worker and its control plane stand ingresses, load balancers and gateways, and each of them answers in its
 * place now and then: a login page with 200, an empty 204, a redirect, a 404 while routes are reloaded, its own health
 * page. To take such an answer for the control plane's word would lose a paid result for ever, let a denied tool run,
 * or end a healthy job. So its word is only what it alone writes:
 *
 *   a report is accepted    by a 2xx with the step's own view: the same id and run, and the status that was reported
 *   any other 2xx           by the view that was asked for, naming the run, step or approval that was asked about
 *   a refusal               by `{"error": {"code"}}`: 400, 413, 422 refused; 404 not found; 409 conflict (FENCED: the
 *                           lease was lost; CONFLICT: the step has ended otherwise); 403 forbidden
 *   401                     is the key's trouble, whoever says it: waiting for a person harms no job
 *   403 FORBIDDEN           is the run's trouble, unless a call that every valid key may make is answered so too
 *   429, 408, 425, 5xx      passing trouble, whoever says it; `Retry-After` is obeyed within a minute
 *   everything else         passing trouble: any 3xx, a 2xx out of shape, a 4xx without a code. It is never a yes, and
 *                           never "not there"; the message says what answered and how it began
 *
 * What `/health` advertises only grows while this process lives. An unreadable `/health` takes nothing away; where
 * nothing is known yet, it is passing trouble too, for a report without its key could be booked twice. FerrumDeck's
 * gateway is known by its own words: a status, a version, and no extensions.
 */
import { createHash } from "node:crypto";
import { context, defaultTextMapSetter, isSpanContextValid, trace } from "@opentelemetry/api";
import { type } from "arktype";
import { once } from "../../machines/contracts/domain/once.ts";
import {
  type Failure,
  fail,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type {
  ControlPlane,
  Extension,
  Reception,
  Report,
  Reservation,
  StepTrace,
} from "../../machines/contracts/ports/control-plane.ts";
import { isId } from "../../machines/contracts/domain/job.ts";
import { readCheckToolAnswer } from "../../machines/contracts/wire/check-tool.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { readStepStatus } from "../../machines/contracts/domain/status.ts";
import {
  approvalView,
  type StepView,
  stepView,
  isWrittenStepView,
} from "../../machines/contracts/wire/views.ts";
import { type Answer, checked, unreadable } from "./answer.ts";
import { type ControlPlaneApi, pathTo } from "./api.ts";

/**
 * The worker's side of the control plane, over its HTTP API. What goes beyond FerrumDeck (report headers,
 * approvals) is used only where it is advertised.
 *
 * @param now monotonic milliseconds
 */
export function createControlPlane(
  api: ControlPlaneApi,
  now: () => number = () => performance.now(),
): ControlPlane {
  const extensions = createExtensions(api, now);

  return {
    // A call may have to ask first what is advertised.
    callTimeoutMs: 2 * api.http.timeoutMs,
    async ping(signal) {
      const health = await api.health(signal);
      if (health.ok) return ok(null);
      // Where something else serves /health, a call of the API tells whether the control plane is there.
      const listed = await api.approvals(1, signal);
      return listed.ok ? ok(null) : listed;
    },
    extensions,
    run: (runId, signal) => api.run(runId, signal),
    steps: (runId, signal) => api.steps(runId, signal),
    async checkTool({ runId, callId, toolName, server, toolInput, ...more }, signal) {
      const path = pathTo`/v1/runs/${runId}/check-tool`;
      if (!path.ok) return path;
      const traced = await traceContext();
      const { estimatedCostCents } = more;
      const body = {
        tool_name: toolName,
        ...(server === undefined ? {} : { server }),
        ...(callId === undefined ? {} : { call_id: callId }),
        tool_input: toolInput,
        ...(more.provenance === undefined ? {} : { provenance: more.provenance }),
        ...(estimatedCostCents === undefined ? {} : { estimated_cost_cents: estimatedCostCents }),
        ...(traced === null ? {} : { _meta: traced }),
      };
      const answer = await api.call({ method: "POST", path: path.value, body }, signal);
      if (!answer.ok) return answer;
      const read = readCheckToolAnswer(answer.value.body);
      return typeof read === "string" ? fail(unreadable(answer.value, read)) : ok(read);
    },
    async report(report, signal) {
      const path = pathTo`/v1/runs/${report.runId}/steps/${report.stepId}`;
      if (!path.ok) return path;
      const advertised = await extensions(signal);
      if (!advertised.ok) return advertised;
      const headers = advertised.value.has("idempotent-results") ? reportHeaders(report) : {};
      const body =
        report.trace !== undefined && advertised.value.has("step-traces")
          ? { ...report.body, trace: traceBody(report.trace) }
          : report.body;
      const answer = await api.call({ method: "POST", path: path.value, body, headers }, signal);
      if (answer.ok) return reception(answer.value, report, advertised.value);
      return isConflict(answer.failure) ? ok("ended") : answer;
    },
    async requestApproval({ runId, stepId }, ask, signal) {
      const advertised = await extensions(signal);
      if (!advertised.ok) return advertised;
      if (!advertised.value.has("approvals")) {
        const message = `the control plane at ${api.http.url} does not advertise "approvals"`;
        return fail(terminal("refused", message));
      }
      const body = {
        run_id: runId,
        step_id: stepId,
        action_type: ask.action.kind,
        action_details: ask.action,
        digest: ask.digest,
        reason: ask.reason,
        ...(ask.inputSchema === undefined ? {} : { input_schema: ask.inputSchema }),
      };
      const answer = await api.call({ method: "POST", path: "/v1/approvals", body }, signal);
      const wanted = { run_id: runId, step_id: stepId };
      // Answered by a yes to other arguments, the question is still the one that was asked.
      const put = checked(answer, approvalView(), "approval", wanted);
      if (answer.ok && put.ok && (put.value.asked_digest ?? put.value.digest) !== ask.digest) {
        return fail(unreadable(answer.value, `expected an approval with digest ${ask.digest}`));
      }
      if (!answer.ok || !put.ok || isId(put.value.id)) return put;
      // It is asked for by that id for as long as the question stands.
      return fail(unreadable(answer.value, "expected an approval's id of visible ASCII"));
    },
    budgets: {
      async reserve(reservation, signal) {
        const path = pathTo`/v1/runs/${reservation.runId}/reservations`;
        if (!path.ok) return path;
        const body = reservationBody(reservation);
        const answer = await api.call({ method: "POST", path: path.value, body }, signal);
        const said = checked(answer, reservationView(), "reservation", { id: reservation.id });
        if (!said.ok) return isConflict(said.failure) ? fail(overAlready(said.failure)) : said;
        const { granted, reason, limit = null, used = null, most = null } = said.value;
        if (granted) return ok(null);
        const message = `the run's ${reason ?? "budget is exceeded"}, with the next call; it was not made`;
        return fail(terminal("budget_exceeded", message, { scope: "run", limit, used, most }));
      },
      async settle(used, signal) {
        const path = pathTo`/v1/runs/${used.runId}/reservations/settle`;
        if (!path.ok) return path;
        const untried = used.untried === true ? { untried: true } : {};
        const body = { ...reservationBody(used), ...untried };
        const answer = await api.call({ method: "POST", path: path.value, body }, signal);
        const said = checked(answer, settledView(), "reservation", { id: used.id });
        return said.ok ? ok(null) : said;
      },
    },
    async tellTexts(texts, signal) {
      const advertised = await extensions(signal);
      if (!advertised.ok) return advertised;
      if (!advertised.value.has("step-texts")) {
        const message = `the control plane at ${api.http.url} does not advertise "step-texts"`;
        return fail(terminal("refused", message));
      }
      const said = texts.map(({ runId, stepId, text, restart }) => ({
        run_id: runId,
        step_id: stepId,
        text,
        ...(restart === true ? { restart } : {}),
      }));
      const body = { texts: said };
      const answer = await api.call({ method: "POST", path: "/v1/events/text", body }, signal);
      return answer.ok ? ok(null) : answer;
    },
    // Whatever is advertised by now: the question was put to somebody who gave it this id.
    async findApproval(id, signal) {
      const path = pathTo`/v1/approvals/${id}`;
      if (!path.ok) return path;
      const answer = await api.call({ method: "GET", path: path.value }, signal);
      return checked(answer, approvalView(), "approval", { id });
    },
  };
}

const reservationView = once(() =>
  type({
    id: "string",
    granted: "boolean",
    "reason?": "string",
    "limit?": "string",
    "used?": "number",
    "most?": "number",
  }),
);
const settledView = once(() => type({ id: "string", settled: "true" }));

const reservationBody = (reservation: Reservation) => ({
  reservation_id: reservation.id,
  step_id: reservation.stepId,
  input_tokens: reservation.inputTokens,
  output_tokens: reservation.outputTokens,
  cost_micros: reservation.costMicros,
});

const isConflict = ({ kind, details }: Failure) =>
  kind === "conflict" && details?.["code"] === "CONFLICT";

/** Nothing is paid for a run or a step that has ended. */
const overAlready = ({ message }: Failure) => terminal("cancelled", message);

/** A report's key on the wire names its run, step and purpose, and is a digest: no id meets a header. */
const traceBody = ({ states, entered, effects }: StepTrace) => ({
  states,
  entered,
  effects: effects.map(({ name, what, used, begunAt, completedAt }) => ({
    name: cutText(name, 255),
    ...(what === undefined ? {} : { what: cutText(what, 255) }),
    begun_at: begunAt,
    completed_at: completedAt,
    ...(used === undefined
      ? {}
      : {
          input_tokens: used.inputTokens,
          output_tokens: used.outputTokens,
          cost_micros: used.costMicros ?? null,
        }),
  })),
});

function reportHeaders({ runId, stepId, idempotencyKey, fence }: Report): Record<string, string> {
  const named = JSON.stringify([runId, stepId, idempotencyKey]);
  return {
    "Idempotency-Key": createHash("sha256").update(named).digest("hex"),
    "X-Stateplane-Fence": String(fence),
  };
}

/** Whether a 2xx answer to a report is the step's own view. */
function reception(
  answer: Answer,
  report: Report,
  advertised: ReadonlySet<Extension>,
): Outcome<Reception> {
  const wanted = { id: report.stepId, run_id: report.runId };
  const { body } = answer;
  const isOwn = isWrittenStepView(body) && body.id === wanted.id && body.run_id === wanted.run_id;
  const status = isOwn ? readStepStatus(body.status) : undefined;
  // Asked of the whole view, so that what was expected is said in its words.
  const read =
    status === undefined ? checked(ok(answer), stepView(), "step", wanted) : ok({ status });
  if (!read.ok) return read;
  const isReplay = answer.headers["idempotency-replayed"] === "true";
  if (!agrees(read.value, report, isReplay, advertised)) {
    const expected = `expected step ${report.stepId} to be ${report.body.status} now, and it is ${read.value.status}`;
    return fail(unreadable(answer, expected));
  }
  return ok(isReplay ? "repeated" : "accepted");
}

/**
 * Whether the step is what was reported. Where questions are kept apart, a person may be quicker than the word that a
 * step waits for one: then it runs, or has even ended, by now. Where the step's own status is the question, `running`
 * would later be read as a yes, so it must have been seen waiting.
 */
function agrees(
  { status }: Pick<StepView, "status">,
  { body }: Report,
  isReplay: boolean,
  advertised: ReadonlySet<Extension>,
): boolean {
  if (status === body.status) return true;
  if (body.status !== "waiting_approval") return false;
  return isReplay || (status === "running" && advertised.has("approvals"));
}

/** `traceparent`, `tracestate` and `baggage` of the span at work, as FerrumDeck reads them from `_meta`; null without one. */
async function traceContext(): Promise<Record<string, string> | null> {
  const active = context.active();
  const span = trace.getSpanContext(active);
  if (span === undefined || !isSpanContextValid(span)) return null;
  // A hundred modules: loaded where there is a trace to carry.
  const { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } =
    await import("@opentelemetry/core");
  const propagator = new CompositePropagator({
    propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
  });
  const carrier: Record<string, string> = {};
  propagator.inject(active, carrier, defaultTextMapSetter);
  return carrier["traceparent"] === undefined ? null : carrier;
}

const known: readonly Extension[] = [
  "idempotent-results",
  "approvals",
  "events",
  "budget-reservations",
  "step-texts",
  "step-traces",
  "airlock",
];
const keptMs = 60_000;
/** After an unreadable `/health`, while what is known goes on to hold. */
const againMs = 5_000;

type Advertised = Outcome<ReadonlySet<Extension>>;

/**
 * Asks `GET /health` what the control plane can do beyond FerrumDeck, at most once a minute however many steps ask at a
 * time. What was advertised once holds for the life of this process.
 */
export function createExtensions(
  api: Pick<ControlPlaneApi, "health">,
  now: () => number = () => performance.now(),
): (signal: AbortSignal) => Promise<Advertised> {
  let kept: { value: ReadonlySet<Extension>; until: number } | null = null;
  let asking: Promise<Advertised> | null = null;

  const ask = async (): Promise<Advertised> => {
    // Many wait for this one answer, so no single caller may cancel it; the request's deadline bounds it.
    const health = await api.health(new AbortController().signal).finally(() => (asking = null));
    if (!health.ok) {
      if (kept === null) return fail(passing(health.failure.message));
      kept = { ...kept, until: now() + againMs };
      return ok(kept.value);
    }
    const said = health.value.extensions ?? [];
    const advertised = known.filter((extension) => said.includes(extension));
    kept = { value: new Set([...(kept?.value ?? []), ...advertised]), until: now() + keptMs };
    return ok(kept.value);
  };

  return async (signal) => {
    if (kept !== null && now() < kept.until) return ok(kept.value);
    asking ??= ask();
    return unlessCancelled(asking, signal);
  };
}

const passing = (why: string) =>
  retryable("unavailable", `the control plane's extensions are not known yet: ${why}`);

function unlessCancelled(answer: Promise<Advertised>, signal: AbortSignal): Promise<Advertised> {
  const cancelled = fail(terminal("cancelled", "GET /health: cancelled"));
  if (signal.aborted) return Promise.resolve(cancelled);
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(cancelled);
    signal.addEventListener("abort", onAbort, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
