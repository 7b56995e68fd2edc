import { type } from "arktype";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import { checked } from "./answer.ts";
import { type ControlPlaneApi, pathTo } from "./api.ts";

const policyView = type({
  id: "string",
  name: "string",
  "description?": "string | null",
  priority: "number",
  conditions: type("object").pipe((value) => value as JsonObject),
  effect: "string",
  enabled: "boolean",
});
export type PolicyView = typeof policyView.infer;
const policyList = policyView.array();

const explanation = type({
  effect: "string",
  reason: "string",
  policy: policyView.or("null"),
  response_level: "string | null",
  reversibility: "string | null",
  lists: { effect: "string", reason: "string" },
  considered: type({
    id: "string",
    name: "string",
    priority: "number",
    effect: "string",
    covers: "boolean",
    why: "string",
  }).array(),
});
export type Explanation = typeof explanation.infer;

export interface PoliciesApi {
  list(signal: AbortSignal): Promise<Outcome<PolicyView[]>>;
  /** @param id null to make a new one */
  put(id: string | null, policy: Json, signal: AbortSignal): Promise<Outcome<PolicyView>>;
  remove(id: string, signal: AbortSignal): Promise<Outcome<PolicyView>>;
  explain(question: JsonObject, signal: AbortSignal): Promise<Outcome<Explanation>>;
}

/** The policies of a control plane of ours; FerrumDeck's gateway keeps some and evaluates none. */
export function policiesApi({ call }: Pick<ControlPlaneApi, "call">): PoliciesApi {
  const base = "/v1/policies";
  return {
    list: async (signal) =>
      checked(await call({ method: "GET", path: base }, signal), policyList, "list of policies"),
    async put(id, body, signal) {
      const to = id === null ? { ok: true as const, value: base } : pathTo`/v1/policies/${id}`;
      if (!to.ok) return to;
      const method = id === null ? "POST" : "PATCH";
      const answer = await call({ method, path: to.value, body }, signal);
      return checked(answer, policyView, "policy");
    },
    async remove(id, signal) {
      const to = pathTo`/v1/policies/${id}`;
      if (!to.ok) return to;
      return checked(
        await call({ method: "DELETE", path: to.value }, signal),
        policyView,
        "policy",
      );
    },
    async explain(body, signal) {
      const answer = await call({ method: "POST", path: `${base}/explain`, body }, signal);
      return checked(answer, explanation, "explanation");
    },
  };
}
