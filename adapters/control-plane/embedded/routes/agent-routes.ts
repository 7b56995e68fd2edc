import { type } from "arktype";
import { Hono } from "hono";
import { type JsonObject, notList } from "../../../../machines/contracts/domain/json.ts";
import { callerOf } from "./access.ts";
import { ApiError, asJson, objectShape, readBody, readPage, rfc3339 } from "./request.ts";
import { type Agent, type AgentVersion, newId, seedIds } from "../documents.ts";
import { longestOpenMs } from "../changes/approvals.ts";
import type { Plane } from "../changes/change.ts";
import {
  type Budget,
  budgetProblem,
  budgetShape,
} from "../../../../machines/contracts/domain/budget.ts";
import { budgetsResponse, budgetsShape, withBudgets } from "../spending.ts";
import type { Rows } from "../rows.ts";

const text = "0 < string <= 255";
export const newAgent = type({
  "project_id?": text,
  name: text,
  slug: type(/^[a-z0-9][a-z0-9_-]{0,254}$/),
  "description?": "string | null",
});
const tools = type("string[] | null");
const whole = type("number.integer >= 0 | null");
export const newVersion = type({
  version: text,
  "system_prompt?": "string | null",
  "model?": "string | null",
  "model_params?": objectShape.or("null"),
  "allowed_tools?": tools,
  "approval_required_tools?": tools,
  "denied_tools?": tools,
  "tool_configs?": type({ "[string]": type({ "requires_approval?": "boolean" }).narrow(notList) })
    .narrow(notList)
    .or("null"),
  "max_tokens?": whole,
  "max_tool_calls?": whole,
  "max_wall_time_secs?": whole,
  "max_cost_cents?": whole,
  "budget?": budgetShape.or("null"),
  "approval_expires_in_ms?": type(`0 < number.integer <= ${longestOpenMs} | null`),
});

export const someOfAgent = type({
  "+": "reject",
  "name?": text,
  "description?": "string | null",
  "budgets?": budgetsShape,
});

/** `/v1/registry/agents`: agents and their versions. */
export function agentRoutes({ apply, rows, now }: Plane): Hono {
  const app = new Hono();
  app.get("/", (c) => {
    const project = c.req.query("project_id") ?? seedIds.project;
    const store = rows(c);
    const agents = store.agents.active(project, readPage(c, 50));
    return c.json(agents.map((agent) => agentResponse(store, agent, now())));
  });
  app.post("/", async (c) => {
    const body = await readBody(c, newAgent);
    const store = rows(c);
    const agent: Agent = {
      id: newId("agt", now()),
      tenantId: store.home,
      projectId: body.project_id ?? seedIds.project,
      slug: body.slug,
      name: body.name,
      description: body.description ?? null,
      // FerrumDeck leaves it a draft for ever, so that its own list never shows it.
      status: "active",
      createdAt: now(),
    };
    await apply((change) => {
      if (change.store.agents.find(agent.slug) !== undefined) {
        throw new ApiError(400, `an agent with slug "${agent.slug}" exists already`);
      }
      change.store.agents.put(agent);
      change.audit(null, "agent.created", { agent_id: agent.id, slug: agent.slug });
    }, callerOf(c));
    return c.json(agentResponse(store, agent, now()), 201);
  });
  app.get("/:id", (c) =>
    c.json(agentResponse(rows(c), findAgent(rows(c), c.req.param("id")), now())),
  );
  app.patch("/:id", async (c) => {
    const { name, description, budgets: given } = await readBody(c, someOfAgent);
    const changed = await apply((change) => {
      const known = findAgent(change.store, c.req.param("id"));
      const budgets = given && withBudgets(known.budgets, given);
      const agent: Agent = {
        ...known,
        ...(name !== undefined && { name }),
        ...(description !== undefined && { description }),
        ...(budgets !== undefined && { budgets }),
      };
      change.store.agents.put(agent);
      const details = { agent_id: agent.id, name: agent.name };
      change.audit(null, "agent.changed", {
        ...details,
        ...(budgets && { budgets: budgets as JsonObject }),
      });
      return agent;
    }, callerOf(c));
    return c.json(agentResponse(rows(c), changed, now()));
  });
  app.get("/:id/versions", (c) => {
    const store = rows(c);
    const agent = findAgent(store, c.req.param("id"));
    return c.json(store.versions.ofAgent(agent.id).map(versionResponse));
  });
  app.post("/:id/versions", async (c) => {
    const body = await readBody(c, newVersion);
    const problem = budgetProblem(asJson(body.budget), "budget");
    if (problem !== null) throw new ApiError(422, problem);
    const agent = findAgent(rows(c), c.req.param("id"));
    const version = toVersion(body, agent, now());
    await apply((change) => {
      const known = change.store.versions.ofAgent(agent.id);
      if (known.some((other) => other.version === version.version)) {
        throw new ApiError(400, `agent "${agent.slug}" has version ${version.version} already`);
      }
      change.store.versions.put(version);
      const { id, model } = version;
      change.audit(null, "agent.version_created", { agent_id: agent.id, version_id: id, model });
    }, callerOf(c));
    return c.json(versionResponse(version), 201);
  });
  /** From now on runs that name no version use this one. Promoting an older one takes a newer one back. */
  app.post("/:id/versions/:versionId/promote", async (c) => {
    const { id, versionId } = c.req.param();
    const promoted = await apply((change) => {
      const agent = findAgent(change.store, id);
      const version = change.store.versions.find(versionId);
      if (version?.agentId !== agent.id) {
        throw new ApiError(404, `agent "${id}" has no version "${versionId}"`);
      }
      const before = change.store.versions.current(agent)?.id ?? null;
      const after: Agent = { ...agent, promotedId: version.id };
      change.store.agents.put(after);
      const details = { agent_id: agent.id, version_id: version.id, before };
      change.audit(null, "agent.promoted", details);
      return after;
    }, callerOf(c));
    return c.json(agentResponse(rows(c), promoted, now()));
  });
  return app;
}

function findAgent(store: Rows, key: string): Agent {
  const agent = store.agents.find(key);
  if (agent === undefined) throw new ApiError(404, `agent "${key}" not found`);
  return agent;
}

function toVersion(body: typeof newVersion.infer, agent: Agent, now: number): AgentVersion {
  const configured = Object.entries(body.tool_configs ?? {})
    .filter(([, config]) => config.requires_approval === true)
    .map(([tool]) => tool);
  return {
    id: newId("agv", now),
    tenantId: agent.tenantId,
    agentId: agent.id,
    version: body.version,
    model: body.model ?? null,
    systemPrompt: body.system_prompt ?? null,
    modelParams: (body.model_params ?? null) as JsonObject | null,
    allowedTools: body.allowed_tools ?? null,
    approvalRequiredTools: [...new Set([...(body.approval_required_tools ?? []), ...configured])],
    deniedTools: body.denied_tools ?? [],
    budget: { ...referenceLimits(body), ...body.budget },
    approvalExpiresInMs: body.approval_expires_in_ms ?? null,
    createdAt: now,
  };
}

/** FerrumDeck's own limits of an agent version, in the words of a budget; null for none, as in its contracts. */
function referenceLimits(body: typeof newVersion.infer): Partial<Budget> {
  const { max_tokens, max_tool_calls, max_wall_time_secs, max_cost_cents } = body;
  return {
    ...(max_tokens !== undefined && { max_total_tokens: max_tokens }),
    ...(max_tool_calls !== undefined && { max_tool_calls }),
    ...(max_wall_time_secs !== undefined && {
      max_wall_time_ms: max_wall_time_secs === null ? null : max_wall_time_secs * 1000,
    }),
    ...(max_cost_cents !== undefined && { max_cost_cents }),
  };
}

function agentResponse(store: Rows, agent: Agent, now: number) {
  const latest = store.versions.latest(agent.id);
  return {
    id: agent.id,
    project_id: agent.projectId,
    name: agent.name,
    slug: agent.slug,
    description: agent.description,
    status: agent.status,
    created_at: rfc3339(agent.createdAt),
    ...budgetsResponse(store, agent, now),
    current_version_id: store.versions.current(agent)?.id ?? null,
    latest_version: latest === undefined ? null : versionResponse(latest),
  };
}

const versionResponse = (version: AgentVersion) => ({
  id: version.id,
  agent_id: version.agentId,
  version: version.version,
  model: version.model,
  system_prompt: version.systemPrompt,
  model_params: version.modelParams,
  allowed_tools: version.allowedTools ?? [],
  approval_required_tools: version.approvalRequiredTools,
  denied_tools: version.deniedTools,
  budget: version.budget,
  approval_expires_in_ms: version.approvalExpiresInMs,
  created_at: rfc3339(version.createdAt),
});
