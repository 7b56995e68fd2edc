import { type } from "arktype";
import { terminal, fail, ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import { readCheckToolAnswer } from "../../machines/contracts/wire/check-tool.ts";
import type {
  ControlPlane,
  Extension,
  Report,
} from "../../machines/contracts/ports/control-plane.ts";
import { approvalView } from "../../machines/contracts/wire/views.ts";
import type { ControlPlaneApi } from "./api.ts";
import type { Answer } from "./http.ts";

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

  const needs = async (extension: Extension, signal: AbortSignal): Promise<Outcome<null>> => {
    const advertised = await extensions(signal);
    if (!advertised.ok) return advertised;
    if (advertised.value.has(extension)) return ok(null);
    const message = `the control plane at ${api.http.url} does not advertise "${extension}"`;
    return fail(terminal("refused", message));
  };

  return {
    async ping(signal) {
      const answer = await api.http.call({ method: "GET", path: "/health" }, signal);
      return answer.ok ? ok(null) : answer;
    },
    extensions,
    run: (runId, signal) => api.run(runId, signal),
    steps: (runId, signal) => api.steps(runId, signal),
    async checkTool({ runId, toolName, toolInput, estimatedCostCents }, signal) {
      const cost =
        estimatedCostCents === undefined ? {} : { estimated_cost_cents: estimatedCostCents };
      const body = { tool_name: toolName, tool_input: toolInput, ...cost };
      const path = `/v1/runs/${encodeURIComponent(runId)}/check-tool`;
      const answer = await api.http.call({ method: "POST", path, body }, signal);
      if (!answer.ok) return answer;
      const read = readCheckToolAnswer(answer.value.body);
      return typeof read === "string" ? fail(terminal("refused", read)) : ok(read);
    },
    async report(report, signal) {
      const advertised = await extensions(signal);
      if (!advertised.ok) return advertised;
      const path = `/v1/runs/${encodeURIComponent(report.runId)}/steps/${encodeURIComponent(report.stepId)}`;
      const headers = advertised.value.has("idempotent-results") ? idempotency(report) : {};
      const answer = await api.http.call(
        { method: "POST", path, body: report.body, headers },
        signal,
      );
      if (answer.ok) {
        const replayed = answer.value.headers["idempotency-replayed"] === "true";
        return ok(replayed ? "repeated" : "accepted");
      }
      const { kind, details } = answer.failure;
      const ended = kind === "conflict" && details?.["code"] === "CONFLICT";
      return ended ? ok("ended") : answer;
    },
    async requestApproval({ runId, stepId }, ask, signal) {
      const able = await needs("approvals", signal);
      if (!able.ok) return able;
      const body = {
        run_id: runId,
        step_id: stepId,
        action_type: ask.action.kind,
        action_details: ask.action,
        digest: ask.digest,
        reason: ask.reason,
      };
      const answer = await api.http.call({ method: "POST", path: "/v1/approvals", body }, signal);
      return checked(answer, approvalView, "approval");
    },
    async findApproval(id, signal) {
      const able = await needs("approvals", signal);
      if (!able.ok) return able;
      const path = `/v1/approvals/${encodeURIComponent(id)}`;
      return checked(
        await api.http.call({ method: "GET", path }, signal),
        approvalView,
        "approval",
      );
    },
  };
}

const idempotency = (report: Report) => ({
  "Idempotency-Key": report.idempotencyKey,
  "X-Stateplane-Fence": String(report.fence),
});

const known: readonly Extension[] = ["idempotent-results", "approvals", "events"];
const keptMs = 60_000;

type Advertised = Outcome<ReadonlySet<Extension>>;

/**
 * Asks `GET /health` what the control plane can do beyond FerrumDeck, at most once a minute however
 * many steps ask at a time. A failure is not kept. A gateway without `/health` advertises nothing.
 */
export function createExtensions(
  api: Pick<ControlPlaneApi, "health">,
  now: () => number = () => performance.now(),
): (signal: AbortSignal) => Promise<Advertised> {
  let kept: { value: Advertised; until: number } | null = null;
  let asking: Promise<Advertised> | null = null;

  const ask = async (): Promise<Advertised> => {
    // Many wait for this one answer, so no single caller may call it off; the request's deadline bounds it.
    const health = await api.health(new AbortController().signal).finally(() => (asking = null));
    if (!health.ok && health.failure.kind !== "not_found") return health;
    const said = health.ok ? (health.value.extensions ?? []) : [];
    const value = ok(new Set(known.filter((extension) => said.includes(extension))));
    kept = { value, until: now() + keptMs };
    return value;
  };

  return async (signal) => {
    if (kept !== null && now() < kept.until) return kept.value;
    asking ??= ask();
    return orCalledOff(asking, signal);
  };
}

function orCalledOff(answer: Promise<Advertised>, signal: AbortSignal): Promise<Advertised> {
  const cancelled = fail(terminal("cancelled", "GET /health: cancelled"));
  if (signal.aborted) return Promise.resolve(cancelled);
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(cancelled);
    signal.addEventListener("abort", onAbort, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** The answer's body in the shape of the contract, or a `refused` failure that says what was expected. */
export function checked<T>(
  answer: Outcome<Answer>,
  shape: (body: unknown) => T | type.errors,
  what: string,
): Outcome<T> {
  if (!answer.ok) return answer;
  const read = shape(answer.value.body);
  if (read instanceof type.errors) {
    const problem = read.summary.slice(0, 500);
    return fail(terminal("refused", `the control plane's ${what} is out of contract: ${problem}`));
  }
  return ok(read);
}
