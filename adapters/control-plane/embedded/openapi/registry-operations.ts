import * as agents from "../routes/agent-routes.ts";
import * as events from "../routes/event-routes.ts";
import * as keys from "../routes/key-routes.ts";
import * as policies from "../routes/policy-routes.ts";
import * as tenants from "../routes/tenant-routes.ts";
import * as tools from "../routes/tool-routes.ts";
import { badBody, notFound, type Operations, page, project, whole } from "./operation.ts";

/** What runs go by: agents, tools, policies, keys; and the audit, health, and the whole of it. */
export const registryOperations: Operations = {
  "GET /health": {
    summary: "Whether it lives, and what it can do",
    answers: { 200: "Health" },
    refuses: [],
  },
  "GET /ready": {
    summary: "Whether it can do its work",
    answers: { 200: "Ready", 503: "Ready" },
    refuses: [],
  },
  "GET /openapi.json": {
    summary: "This document",
    answers: { 200: { media: "application/json" } },
    refuses: [],
  },
  "GET /v1/registry/agents": {
    summary: "List agents",
    query: [project, ...page(50)],
    answers: { 200: ["Agent"] },
    refuses: [422],
  },
  "POST /v1/registry/agents": {
    summary: "Register an agent",
    body: agents.newAgent,
    answers: { 201: "Agent" },
    refuses: badBody,
  },
  "GET /v1/registry/agents/{agent_id}": {
    summary: "Show an agent, by its id or slug",
    answers: { 200: "Agent" },
    refuses: notFound,
  },
  "PATCH /v1/registry/agents/{agent_id}": {
    summary: "Change an agent's name, description or budgets",
    body: agents.someOfAgent,
    answers: { 200: "Agent" },
    refuses: [...badBody, 404],
  },
  "GET /v1/registry/agents/{agent_id}/versions": {
    summary: "List an agent's versions, newest first",
    answers: { 200: ["AgentVersion"] },
    refuses: notFound,
  },
  "POST /v1/registry/agents/{agent_id}/versions": {
    summary: "Add a version",
    body: agents.newVersion,
    answers: { 201: "AgentVersion" },
    refuses: [...badBody, 404],
  },
  "POST /v1/registry/agents/{agent_id}/versions/{version_id}/promote": {
    summary: "Let runs use this version",
    answers: { 200: "Agent" },
    refuses: notFound,
  },
  "GET /v1/registry/tools": {
    summary: "List tools",
    query: [project, ...page(50)],
    answers: { 200: ["Tool"] },
    refuses: [422],
  },
  "POST /v1/registry/tools": {
    summary: "Register a tool",
    body: tools.newTool,
    answers: { 201: "Tool" },
    refuses: badBody,
  },
  "GET /v1/registry/tools/{tool_id}": {
    summary: "Show a tool",
    answers: { 200: "Tool" },
    refuses: notFound,
  },
  "GET /v1/registry/mcp-servers": {
    summary: "List the servers of registered tools",
    query: [project],
    answers: { 200: ["McpServer"] },
    refuses: [],
  },
  "GET /v1/api-keys": {
    summary: "List keys",
    query: page(100, 1000),
    answers: { 200: ["Key"] },
    refuses: [422],
  },
  "POST /v1/api-keys": {
    summary: "Make a key, of one's own tenant or of another; its secret is in this answer alone",
    body: keys.newKey,
    answers: { 201: "KeyWithSecret" },
    refuses: [...badBody, 404],
  },
  "GET /v1/api-keys/{key_id}": {
    summary: "Show a key",
    answers: { 200: "Key" },
    refuses: notFound,
  },
  "POST /v1/api-keys/{key_id}/rotate": {
    summary: "Give a key another secret",
    body: keys.rotation,
    answers: { 200: "KeyWithSecret" },
    refuses: [...badBody, 404, 409],
  },
  "POST /v1/api-keys/{key_id}/revoke": {
    summary: "End a key for good",
    answers: { 200: "Key" },
    refuses: notFound,
  },
  "GET /v1/tenants": {
    summary: "List tenants: all of them to the operator, to others their own",
    query: page(100, 1000),
    answers: { 200: ["Tenant"] },
    refuses: [422],
  },
  "POST /v1/tenants": {
    summary: "Add a tenant",
    body: tenants.newTenant,
    answers: { 201: "Tenant" },
    refuses: badBody,
  },
  "GET /v1/tenants/{tenant_id}": {
    summary: "Show a tenant, by its id or slug",
    answers: { 200: "Tenant" },
    refuses: notFound,
  },
  "PATCH /v1/tenants/{tenant_id}": {
    summary: "Change some of a tenant",
    body: tenants.someOfTenant,
    answers: { 200: "Tenant" },
    refuses: [...badBody, 404],
  },
  "GET /v1/audit": {
    summary: "Read the audit's chain, oldest first",
    query: [whole("after", 0, 0, Number.MAX_SAFE_INTEGER), whole("limit", 1000, 1, 1000)],
    answers: { 200: ["AuditEntry"] },
    refuses: [422],
  },
  "GET /v1/audit/head": {
    summary: "How long the audit's chain is, and its last hash",
    answers: { 200: "AuditHead" },
    refuses: [],
  },
  "GET /v1/policies": {
    summary: "List policies, oldest first",
    query: [project, ...page(1000, 1000)],
    answers: { 200: ["Policy"] },
    refuses: [422],
  },
  "POST /v1/policies": {
    summary: "Add a policy",
    body: policies.newPolicy,
    answers: { 201: "Policy" },
    refuses: [...badBody, 409],
  },
  "POST /v1/policies/explain": {
    summary: "What would become of a call, and by which rule",
    body: policies.question,
    answers: { 200: "Explanation" },
    refuses: [...badBody, 404],
  },
  "GET /v1/policies/{policy_id}": {
    summary: "Show a policy",
    answers: { 200: "Policy" },
    refuses: notFound,
  },
  "PATCH /v1/policies/{policy_id}": {
    summary: "Change some of a policy",
    body: policies.someOfIt,
    answers: { 200: "Policy" },
    refuses: [...badBody, 404],
  },
  "DELETE /v1/policies/{policy_id}": {
    summary: "Delete a policy",
    answers: { 200: "Policy" },
    refuses: notFound,
  },
  "GET /v1/evals": {
    summary: "List the reports of evals, newest first",
    query: [whole("limit", 50, 1, 200)],
    answers: { 200: "Evals" },
    refuses: [404, 422],
  },
  "GET /v1/evals/{eval_id}": {
    summary: "Show what an eval found, a line a task",
    answers: { 200: "WholeEval" },
    refuses: notFound,
  },
  "GET /v1/evals/{eval_id}/tasks/{task_id}": {
    summary: "Show a task of an eval with all of its trials",
    answers: { 200: "EvalTask" },
    refuses: notFound,
  },
  "GET /v1/backup": {
    summary: "A whole copy of the database",
    answers: { 200: { media: "application/vnd.sqlite3" } },
    refuses: [],
  },
  "POST /v1/events/text": {
    summary: "Tell those who watch what models say; nothing of it is kept",
    body: events.saidTexts,
    answers: { 202: "Taken" },
    refuses: badBody,
  },
  "GET /v1/events": {
    summary: "Changes of runs' statuses, steps to stop, and models' texts, as server-sent events",
    answers: { 200: { media: "text/event-stream" } },
    refuses: [],
  },
};
