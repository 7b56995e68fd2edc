import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseJob } from "../../machines/contracts/domain/job.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";

let plane: TestPlane;
let key: StepKey;
let approvalId: string;
/** What was put on the stream, unread. */
const published: Record<string, string>[] = [];
beforeAll(async () => {
  plane = await startTestPlane({ publish: async (fields) => void published.push(fields) });
  key = await plane.createRun();
  const { runId: run_id, stepId: step_id } = key;
  const question = { run_id, step_id, action_type: "tool", digest: "d", reason: "r" };
  const asked = await plane.fetch("POST", "/v1/approvals", question);
  approvalId = String(asked.body["id"]);
});
afterAll(() => plane.close());

/** JSON text that goes deeper than any parser's, database's or our own limit, in arrays, objects or both. */
const deep = fc
  .tuple(fc.integer({ min: 1, max: 30_000 }), fc.constantFrom("[", '{"a":', '[{"a":'))
  .map(([depth, open]) => {
    const close = open === "[" ? "]" : open === '{"a":' ? "}" : "}]";
    return `${open.repeat(depth)}1${close.repeat(depth)}`;
  });
const numbers = fc.constantFrom(
  "9007199254740993",
  "1e400",
  "-0",
  "1e-400",
  "123456789012345678901",
);
const texts = fc.constantFrom('"\\u0000"', '"\\ud800"', '"💥"', '"__proto__"', '""');
const value = fc.oneof(deep, numbers, texts, fc.json(), fc.constantFrom("null", "{}", "[]"));

/** Each call with a body, each of whose keys may be anything. */
const calls: { method: string; path: () => string; body: Record<string, string> }[] = [
  {
    method: "POST",
    path: () => "/v1/runs",
    body: { agent_id: '"helper"', input: '{"task":"t"}', config: "null", steps: "null" },
  },
  {
    method: "POST",
    path: () => "/v1/runs",
    body: {
      agent_id: '"helper"',
      input: "{}",
      steps: '[{"type":"tool","input":{"tool_name":"t"}}]',
    },
  },
  {
    method: "POST",
    path: () => `/v1/runs/${key.runId}/check-tool`,
    body: { tool_name: '"read"', tool_input: "{}", server: "null", _meta: "{}" },
  },
  {
    method: "POST",
    path: () => `/v1/runs/${key.runId}/steps/${key.stepId}`,
    body: { status: '"waiting_approval"', output: "1", error: "null", input_tokens: "1" },
  },
  {
    method: "POST",
    path: () => "/v1/approvals",
    body: {
      run_id: '"r"',
      step_id: '"s"',
      action_type: '"t"',
      action_details: "1",
      digest: '"d"',
      reason: '""',
    },
  },
  {
    method: "PUT",
    path: () => `/v1/approvals/${approvalId}`,
    body: { approved: "1", note: "null" },
  },
  { method: "POST", path: () => "/v1/registry/agents", body: { name: '"n"', slug: '"helper"' } },
  {
    method: "POST",
    path: () => "/v1/registry/agents/helper/versions",
    body: { version: '"1"', model_params: "{}", budget: "{}", tool_configs: "{}" },
  },
  {
    method: "POST",
    path: () => "/v1/registry/tools",
    body: { name: '"n"', slug: '"s"', mcp_server: '"m"', risk_level: '"read"', input_schema: "{}" },
  },
];

describe("a body, whatever it holds", () => {
  it("is taken or refused in the control plane's own words, and never fails it [plane.bodies]", async () => {
    const call = fc.constantFrom(...calls).chain((made) =>
      fc.record({
        made: fc.constant(made),
        key: fc.constantFrom(...Object.keys(made.body)),
        value,
        whole: fc.boolean(),
      }),
    );
    await fc.assert(
      fc.asyncProperty(call, async ({ made, key: changed, value: text, whole }) => {
        const body = { ...made.body, [changed]: text };
        const members = Object.entries(body).map(([name, item]) => `"${name}":${item}`);
        const sent = whole ? text : `{${members.join(",")}}`;
        const { status, body: said } = await plane.fetch(made.method, made.path(), sent);
        expect(status, `${made.method} ${made.path()} ${sent.slice(0, 200)}`).toBeLessThan(500);
        if (status >= 400) expect(said).toMatchObject({ error: { code: expect.any(String) } });
      }),
      { numRuns: 1_500 },
    );
    // What was taken can be run: no job was enqueued that a worker must refuse.
    for (const fields of published) expect(parseJob(fields)).toMatchObject({ valid: true });
  });

  it("nested too deep, or with a number that can't be kept, is refused by name", async () => {
    const run = (input: string) =>
      plane.fetch("POST", "/v1/runs", `{"agent_id":"helper","input":{"task":"t","x":${input}}}`);
    for (const depth of [64, 101, 1_500, 8_000, 20_000]) {
      const refused = await run("[".repeat(depth) + "]".repeat(depth));
      expect(refused).toMatchObject({
        status: 422,
        body: { error: { message: expect.stringMatching(/nested deeper than \d+ levels/) } },
      });
    }
    expect(await run("9007199254740993")).toMatchObject({
      status: 422,
      body: { error: { message: expect.stringContaining("9007199254740993") } },
    });
    expect((await run("[".repeat(60) + "]".repeat(60))).status).toBe(201);
  });

  it.each([
    ["PUT", "/v1/approvals/none", []],
    ["POST", "/v1/policies", { name: "n", effect: "allow", conditions: [] }],
    ["POST", "/v1/policies", { name: "n", effect: "allow", conditions: { time: [] } }],
    ["POST", "/v1/policies", { name: "n", effect: "require_approval", approval: [] }],
    ["POST", "/v1/registry/agents/helper/versions", { version: "l", budget: [] }],
    ["POST", "/v1/registry/agents/helper/versions", { version: "l", model_params: [] }],
    ["POST", "/v1/registry/agents/helper/versions", { version: "l", tool_configs: [] }],
    [
      "POST",
      "/v1/registry/tools",
      { name: "n", slug: "l", mcp_server: "m", risk_level: "read", input_schema: [] },
    ],
    ["POST", "/v1/policies/explain", { agent: "helper", tool_name: "read", tool_input: [] }],
    ["POST", "/v1/runs", { agent_id: "helper", input: {}, config: [] }],
    ["POST", "/v1/runs", { agent_id: "helper", input: {}, config: { budget: [] } }],
  ])("%s %s refuses a list for an object: %j", async (method, path, body) => {
    const refused = await plane.fetch(method, path, body);
    const message = expect.stringMatching(/(?:must be|expected) an object/);
    expect(refused).toMatchObject({ status: 422, body: { error: { message } } });
  });

  it("explains a call at any day and time that exists, and refuses what is none", async () => {
    const time = { days: ["mon"] };
    const policy = { name: "mondays", effect: "deny", conditions: { time } };
    expect((await plane.fetch("POST", "/v1/policies", policy)).status).toBe(201);
    const question = { agent: "helper", tool_name: "read" };
    const explain = async (at: string) =>
      (await plane.fetch("POST", "/v1/policies/explain", { ...question, at })).status;
    expect(await explain("2026-01-26")).toBe(200);
    expect(await explain("2026-01-26T10:00:00+01:00")).toBe(200);
    // Weeks are ISO 8601, and no `Date` reads them.
    for (const at of ["2026-W05-1", "2026-026", "2026-13-01", "2026-01-26T25:00Z", "now"]) {
      expect(await explain(at), at).toBe(422);
    }
  });
});
