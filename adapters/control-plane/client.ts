import { terminal } from "../../machines/contracts/failure.ts";
import { fail, ok, type Outcome } from "../../machines/contracts/outcome.ts";
import { readCheckToolAnswer } from "../../machines/contracts/check-tool.ts";
import type {
  ControlPlane,
  Extension,
  Report,
} from "../../machines/contracts/ports/control-plane.ts";
import { approvalView } from "../../machines/contracts/views.ts";
import type { ControlPlaneApi } from "./api.ts";
import { checked } from "./checked.ts";
import { createExtensions } from "./extensions.ts";

/**
 * The worker's side of the control plane, over its HTTP API. What goes beyond the reference (report headers,
 * approvals) is used only where it is advertised.
 */
export function createControlPlane(api: ControlPlaneApi): ControlPlane {
  const extensions = createExtensions(api);

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
