import { type } from "arktype";
import { Hono } from "hono";
import { isJsonObject } from "../../../../machines/contracts/domain/json.ts";
import { callerOf } from "./access.ts";
import { ApiError, asJson, objectShape, readBody, readPage, rfc3339 } from "./request.ts";
import { judge } from "../changes/check-tool.ts";
import type { Plane } from "../changes/change.ts";
import { addPolicy, changePolicy, findPolicy, removePolicy } from "../changes/policies.ts";
import { seedIds } from "../documents.ts";
import { mayReachAll } from "../keys.ts";
import {
  approvalTermsShape,
  conditionsShape,
  type Considered,
  effects,
  type Policy,
} from "../policy.ts";

const name = "0 < string <= 255";
const description = "string <= 4096 | null";
const priority = "-1000000 <= number.integer <= 1000000";
const effect = type.enumerated(...effects);
// A misspelt key would make a policy of every call.
export const newPolicy = type({
  "+": "reject",
  "project_id?": name,
  name,
  "description?": description,
  "priority?": priority,
  "conditions?": conditionsShape,
  effect,
  "approval?": approvalTermsShape.or("null"),
  "enabled?": "boolean",
});
export const someOfIt = type({
  "+": "reject",
  "name?": name,
  "description?": description,
  "priority?": priority,
  "conditions?": conditionsShape,
  "effect?": effect,
  "approval?": approvalTermsShape.or("null"),
  "enabled?": "boolean",
});
/** A day or a moment by RFC 3339: ISO 8601 allows weeks and other spellings, which no `Date` reads. */
const moment = type(
  /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d))?$/,
).narrow((text, ctx) => Number.isFinite(Date.parse(text)) || ctx.mustBe("a date"));
export const question = type({
  agent: name,
  tool_name: name,
  "server?": "0 < string <= 255 | null",
  "tool_input?": objectShape,
  "tenant_id?": name,
  "at?": moment,
});

/** `/v1/policies`: what the check of a tool is decided by, beside the agents' own lists; and why. */
export function policyRoutes({ apply, rows, now }: Plane): Hono {
  const app = new Hono();
  app.get("/", (c) => {
    const { limit, offset } = readPage(c, 1000, 1000);
    const project = c.req.query("project_id") ?? seedIds.project;
    const policies = rows(c)
      .policies.ofProject(project)
      .slice(offset, offset + limit);
    return c.json(policies.map(policyResponse));
  });
  app.post("/", async (c) => {
    const body = await readBody(c, newPolicy);
    const settings = {
      name: body.name,
      description: body.description ?? null,
      priority: body.priority ?? 100,
      conditions: body.conditions ?? {},
      effect: body.effect,
      approval: body.approval ?? null,
      enabled: body.enabled ?? true,
    };
    const project = body.project_id ?? seedIds.project;
    const made = await apply((change) => addPolicy(change, project, settings), callerOf(c));
    return c.json(policyResponse(made), 201);
  });
  app.post("/explain", async (c) => {
    const body = await readBody(c, question);
    const store = rows(c);
    const agent = store.agents.find(body.agent);
    const version = agent === undefined ? undefined : store.versions.current(agent);
    if (agent === undefined || version === undefined) {
      throw new ApiError(404, `agent "${body.agent}" not found, or it has no versions`);
    }
    const given = asJson(body.tool_input);
    const input = isJsonObject(given) ? given : {};
    const tool = { server: body.server ?? null, name: body.tool_name, input };
    const asked = mayReachAll(callerOf(c)) ? body.tenant_id : undefined;
    const tenant = asked ?? agent.tenantId;
    const at = body.at === undefined ? now() : Date.parse(body.at);
    const { said, listed, byPolicy } = judge(store, version, { tool, tenant, at });
    // The operator's bind every tenant, and are shown to none: the reason names the one that decides.
    const shown = ({ policy }: Considered) => store.policies.find(policy.id) !== undefined;
    const decidedBy =
      byPolicy.decidedBy !== null && shown(byPolicy.decidedBy) ? byPolicy.decidedBy : null;
    return c.json({
      effect: wireEffects[said.kind],
      reason: said.reason,
      policy: decidedBy === null ? null : policyResponse(decidedBy.policy),
      response_level: said.details?.["response_level"] ?? null,
      reversibility: said.details?.["reversibility"] ?? null,
      lists: { effect: wireEffects[listed.kind], reason: listed.reason },
      considered: byPolicy.considered.filter(shown).map(({ policy, covers, why }) => ({
        id: policy.id,
        name: policy.name,
        priority: policy.priority,
        effect: policy.effect,
        covers,
        why,
      })),
    });
  });
  app.get("/:id", (c) => c.json(policyResponse(findPolicy(rows(c), c.req.param("id")))));
  app.patch("/:id", async (c) => {
    const some = await readBody(c, someOfIt);
    const id = c.req.param("id");
    return c.json(
      policyResponse(await apply((change) => changePolicy(change, id, some), callerOf(c))),
    );
  });
  app.delete("/:id", async (c) => {
    const id = c.req.param("id");
    return c.json(policyResponse(await apply((change) => removePolicy(change, id), callerOf(c))));
  });
  return app;
}

const wireEffects = { allow: "allow", ask: "require_approval", deny: "deny" } as const;

const policyResponse = (policy: Policy) => ({
  id: policy.id,
  project_id: policy.projectId,
  name: policy.name,
  description: policy.description,
  priority: policy.priority,
  conditions: policy.conditions,
  effect: policy.effect,
  approval: policy.approval ?? null,
  enabled: policy.enabled,
  created_at: rfc3339(policy.createdAt),
  updated_at: rfc3339(policy.updatedAt),
});
