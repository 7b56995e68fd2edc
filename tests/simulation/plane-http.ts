import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Answer as Told } from "../../adapters/control-plane/answer.ts";
import type { ApiRequest } from "../../adapters/control-plane/http.ts";
import type { Misanswer, PlaneCall } from "./plan.ts";
import type { Plane } from "./plane.ts";
import type { PlaneAnswer } from "./plane-records.ts";

/** An answer, not yet told for which call. */
export type Answer = Omit<Told, "call">;

/** Which of the control plane's calls a request is. */
export function callOf({ method, path }: ApiRequest): PlaneCall {
  if (path === "/health") return "health";
  if (path === "/v1/approvals") return "requestApproval";
  if (path.startsWith("/v1/approvals/")) return "findApproval";
  if (path.startsWith("/v1/approvals?")) return "approvals";
  if (path.endsWith("/check-tool")) return "checkTool";
  if (path.endsWith("/steps")) return "steps";
  return method === "POST" ? "report" : "run";
}

/** One request to the simulated control plane, answered as HTTP. */
export function answerOf(plane: Plane, request: ApiRequest): Answer {
  const [, , resource = "", id = "", , stepId = ""] = request.path.split("/");
  // As it arrives: text, parsed anew.
  const body = JSON.parse(JSON.stringify(request.body ?? {})) as JsonObject;
  switch (callOf(request)) {
    case "health":
      return { status: 200, headers: {}, body: plane.health() };
    case "requestApproval":
      return toAnswer(plane.requestApproval(body));
    case "findApproval":
      return toAnswer(plane.findApproval(id));
    case "approvals":
      return toAnswer({ ok: [] });
    case "checkTool":
      return toAnswer(plane.checkTool(id, body));
    case "steps":
      return toAnswer({ ok: plane.stepsOf(id) });
    case "report":
      return toAnswer(plane.report(id, stepId, body, request.headers ?? {}));
    case "run":
      return resource === "runs" ? toAnswer({ ok: plane.run(id) }) : page(404);
  }
}

function toAnswer(answer: PlaneAnswer): Answer {
  if ("ok" in answer) {
    const headers = answer.repeated === true ? { "idempotency-replayed": "true" } : {};
    return { status: 200, headers: { ...json, ...headers }, body: answer.ok };
  }
  const { status, code } = answer;
  return { status, headers: json, body: { error: { code, message: code.toLowerCase() } } };
}

const json = { "content-type": "application/json" };
const page = (status: number): Answer => ({
  status,
  headers: { "content-type": "text/html" },
  body: "<html><body><h1>nginx</h1></body></html>",
});

/** What stands in the control plane's place says this. */
export function misanswer(how: Misanswer): Answer {
  switch (how) {
    case "200 page":
      return page(200);
    case "200 other JSON":
      return { status: 200, headers: json, body: { status: "ok" } };
    case "204 empty":
      return { status: 204, headers: {}, body: "" };
    case "302 elsewhere":
      return { ...page(302), headers: { location: "https://sign-in.example/" } };
    case "400 page":
      return page(400);
    case "404 page":
      return page(404);
    case "404 plain":
      return { status: 404, headers: { "content-type": "text/plain" }, body: "404 page not found" };
    case "502 page":
      return page(502);
  }
}

export const refusedKey: Answer = {
  status: 401,
  headers: json,
  body: { error: { code: "UNAUTHORIZED", message: "Invalid API key" } },
};
