import { type } from "arktype";
import { budgetShape } from "../../../../machines/contracts/domain/budget.ts";
import { scopes } from "../keys.ts";
import { approvalTermsShape, conditionsShape } from "../policy.ts";
import { objectShape } from "../routes/request.ts";
import {
  closed,
  count,
  countOrNull,
  effect,
  objectOrNull,
  textOrNull,
  time,
  timeOrNull,
} from "./answer-parts.ts";

const AgentVersion = type({
  ...closed,
  id: "string",
  agent_id: "string",
  version: "string",
  model: textOrNull,
  system_prompt: textOrNull,
  model_params: objectOrNull,
  allowed_tools: "string[]",
  approval_required_tools: "string[]",
  denied_tools: "string[]",
  budget: budgetShape,
  approval_expires_in_ms: "number.integer > 0 | null",
  created_at: time,
});
const limits = budgetShape.or("null");
const spent = type({
  ...closed,
  input_tokens: count,
  output_tokens: count,
  tool_calls: count,
  cost_micros: count,
});
/** Of a report of an eval, which says its times as it was written. */
const evalSummary = {
  ...closed,
  id: "string",
  file: "string",
  suite: "string",
  agent: "string",
  mock: "boolean",
  control_plane: "string",
  started_at: "string",
  ended_at: "string",
  complete: "boolean",
  tasks: count,
  trials: count,
  passed: count,
  uncounted: count,
  pass_rate: "0 <= number <= 1 | null",
  interval: type({ ...closed, low: "number", high: "number" }).or("null"),
  cost_micros: countOrNull,
} as const;
/** Of an agent's or a tenant's runs together. */
const shared = {
  budgets: type({ ...closed, day: limits, month: limits, total: limits }),
  spending: type({ ...closed, day: spent, month: spent, total: spent }),
} as const;
const key = {
  id: "string",
  name: "string",
  scopes: type.enumerated(...scopes).array(),
  roles: "string[]",
  per_minute: "number.integer >= 1 | null",
  hint: "string",
  tenant_id: "string",
  created_at: time,
  expires_at: timeOrNull,
  revoked_at: timeOrNull,
  previous_until: timeOrNull,
} as const;
const Policy = type({
  ...closed,
  id: "string",
  project_id: "string",
  name: "string",
  description: textOrNull,
  priority: "number.integer",
  conditions: conditionsShape,
  effect,
  approval: approvalTermsShape.or("null"),
  enabled: "boolean",
  created_at: time,
  updated_at: time,
});
const entry = {
  ...closed,
  seq: "number.integer >= 1",
  id: "string",
  run_id: textOrNull,
  by: textOrNull,
  event: "string",
  details: objectShape,
  created_at: time,
} as const;
const AuditEntry = type({ ...entry, hash: "string" });
/** Its `seq` counts the run's entries. */
const RunAuditEntry = type({
  ...entry,
  chain: type({ ...closed, seq: "number.integer >= 1", hash: "string" }).or("null"),
});
const head = { count, hash: "string" } as const;

/** What is answered about agents, tools, keys, policies, the audit, and health. */
export const registryAnswers = {
  Agent: type({
    ...closed,
    id: "string",
    project_id: "string",
    name: "string",
    slug: "string",
    description: textOrNull,
    status: "'active' | 'archived'",
    created_at: time,
    ...shared,
    current_version_id: textOrNull,
    latest_version: AgentVersion.or("null"),
  }),
  AgentVersion,
  Tool: type({
    ...closed,
    id: "string",
    project_id: "string",
    name: "string",
    slug: "string",
    description: textOrNull,
    mcp_server: "string",
    status: "'active'",
    risk_level: "'read' | 'write' | 'destructive'",
    input_schema: objectShape,
    output_schema: objectOrNull,
    created_at: time,
  }),
  McpServer: type({ ...closed, name: "string", tools: "string[]" }),
  Key: type({ ...closed, ...key }),
  KeyWithSecret: type({ ...closed, ...key, key: "string > 0" }),
  Tenant: type({
    ...closed,
    id: "string",
    slug: "string",
    name: "string",
    per_minute: "number.integer >= 1 | null",
    ...shared,
    created_at: time,
  }),
  AuditEntry,
  RunAuditEntry,
  AuditHead: type({ ...closed, ...head, file: type({ ...closed, ...head }).or("null") }),
  Policy,
  Explanation: type({
    ...closed,
    effect,
    reason: "string",
    policy: Policy.or("null"),
    response_level: "'R1' | 'R2' | 'R3' | null",
    reversibility: textOrNull,
    lists: type({ ...closed, effect, reason: "string" }),
    considered: type({
      ...closed,
      id: "string",
      name: "string",
      priority: "number.integer",
      effect,
      covers: "boolean",
      why: "string",
    }).array(),
  }),
  Evals: type({
    ...closed,
    evals: type(evalSummary).array(),
    problems: type({ ...closed, file: "string", problem: "string" }).array(),
  }),
  WholeEval: type({
    ...evalSummary,
    epochs: "number.integer >= 1",
    lines: "string[]",
    rows: type({
      ...closed,
      id: "string",
      category: "string",
      kind: "'passed' | 'unsteady' | 'failed' | 'lost'",
      passed: "string",
      score: "string",
      cost: "string",
      time: "string",
      why: "string",
    }).array(),
  }),
  EvalTask: type({
    ...closed,
    id: "string",
    name: "string",
    category: "string",
    difficulty: "string",
    tags: "string[]",
    cluster: "string",
    trials: "object[]",
  }),
  Taken: type({ ...closed, taken: "true" }),
  Health: type({ ...closed, status: "'healthy'", version: "string", extensions: "string[]" }),
  Ready: type({
    ...closed,
    status: "'ready' | 'not_ready'",
    version: "string",
    components: {
      ...closed,
      database: { ...closed, status: "'healthy'", latency_ms: count },
      queue: { ...closed, status: "'healthy' | 'unhealthy'" },
    },
  }),
} as const;
