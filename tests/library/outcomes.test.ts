import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type } from "arktype";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ControlPlaneApi, PlannedStep } from "../../adapters/control-plane/api.ts";
import { createControlPlaneApi } from "../../cli/entries/control-plane.ts";
import {
  type AnyTool,
  defineConfig,
  defineTool,
  type Dev,
  startDev,
  verdict,
} from "../../cli/library.ts";
import { isRunEnded } from "../../machines/contracts/domain/status.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();
const cents = { type: "object", properties: { cents: { type: "integer" } }, required: ["cents"] };
const charged: string[] = [];

const tools: AnyTool[] = [
  defineTool({
    name: "add",
    description: "Adds two numbers.",
    input: type({ a: "number", b: "number" }),
    annotations: { readOnly: true },
    run: ({ a, b }) => a + b,
  }),
  defineTool({
    name: "charge_card",
    description: "Charges a card.",
    input: cents,
    run: (input, { idempotencyKey }) => {
      charged.push(idempotencyKey);
      return { charged: input["cents"] ?? null };
    },
  }),
  defineTool({ name: "wipe", description: "Wipes it all.", input: cents, run: () => "wiped" }),
  defineTool({
    name: "decline",
    description: "Always throws.",
    input: cents,
    run: () => {
      throw new RangeError("the card is declined");
    },
  }),
  defineTool({
    name: "odd",
    description: "Returns another shape than it says.",
    input: cents,
    output: { type: "object", required: ["receipt"] },
    run: () => ({ reciept: "1" }),
  }),
  defineTool({
    name: "big",
    description: "Returns a BigInt.",
    input: cents,
    run: () => ({ total: { cents: 5n } }),
  }),
  defineTool({
    name: "circle",
    description: "Returns itself twice.",
    input: cents,
    run: () => {
      const one: Record<string, unknown> = {};
      return Object.assign(one, { left: one, right: one });
    },
  }),
  defineTool({ name: "guarded", description: "Never runs.", input: cents, run: () => "ran" }),
  defineTool({ name: "handled", description: "Taken over.", input: cents, run: () => "ran" }),
  defineTool({
    name: "silent",
    description: "Returns nothing.",
    input: cents,
    annotations: { idempotent: true },
    run: () => {},
  }),
];

interface Case {
  what: string;
  tool: string;
  input: JsonObject;
  /** How a tool step ends. */
  step: RegExp;
  /** What a model is told. */
  call: RegExp;
}

const fits = { cents: 5 };
const cases: readonly Case[] = [
  {
    what: "allowed",
    tool: "add",
    input: { a: 2, b: 3 },
    step: /^completed: .*5/u,
    call: /^allow: 5$/u,
  },
  {
    what: "asked, granted",
    tool: "charge_card",
    input: fits,
    step: /^completed: .*"charged":5/u,
    call: /^allow: \{"charged":5\}$/u,
  },
  {
    what: "denied",
    tool: "wipe",
    input: fits,
    step: /policy_denied: .*functions\/wipe|wipe.* denied/u,
    call: /^deny: there is no tool "wipe"/u,
  },
  {
    what: "schema refused",
    tool: "add",
    input: { a: "2" },
    step: /invalid_input: input of the function "add"/u,
    call: /^deny: .*must have required property 'b'/u,
  },
  {
    what: "thrown error",
    tool: "decline",
    input: fits,
    step: /tool_failed: the function "decline" threw at .*outcomes\.test\.ts:\d+: the card is declined/u,
    call: /^allow: the function "decline" threw at .*: the card is declined/u,
  },
  {
    what: "wrong shape",
    tool: "odd",
    input: fits,
    step: /invalid_output: .*"odd" returned breaks its schema/u,
    call: /^allow: .*"odd" returned breaks its schema/u,
  },
  {
    what: "BigInt",
    tool: "big",
    input: fits,
    step: /invalid_output: .*"big" returned is not JSON: it holds a BigInt at total\.cents/u,
    call: /^allow: .*a BigInt at total\.cents/u,
  },
  {
    what: "cycle",
    tool: "circle",
    input: fits,
    step: /invalid_output: .*"circle" returned is not JSON: it holds itself at left/u,
    call: /^allow: .*holds itself at left/u,
  },
  {
    what: "malformed verdict",
    tool: "guarded",
    input: fits,
    step: /policy_denied: the policy function "policy" answered out of shape: kind must be/u,
    call: /^deny: .*the policy function "policy" answered out of shape/u,
  },
  {
    what: "odd handler",
    tool: "handled",
    input: fits,
    step: /handler_failed: the handler "tool:handled" returned an output that holds a BigInt/u,
    call: /^allow: the handler "tool:handled" returned an output that holds a BigInt/u,
  },
  {
    what: "nothing",
    tool: "silent",
    input: fits,
    step: /^completed: .*null/u,
    call: /^allow: null$/u,
  },
];

let dev: Dev;
let api: ControlPlaneApi;
const signal = AbortSignal.timeout(200_000);

beforeAll(async () => {
  const script = cases.flatMap(({ what, tool, input }) => [
    {
      expect: { contains: `case: ${what}` },
      reply: { toolCalls: [{ name: tool, arguments: input }] },
    },
    { expect: { contains: `case: ${what}` }, reply: { content: "done" } },
  ]);
  const modelScript = join(folder, "script.json");
  writeFileSync(modelScript, JSON.stringify(script));
  const config = defineConfig({
    store: "sqlite",
    dataDir: join(folder, "data"),
    tools,
    modelScript,
    policy: ({ name }) =>
      name === "guarded" ? ({ kind: "denied" } as never) : verdict.allow("no view of it"),
    handlers: { "tool:handled": async () => ({ kind: "done", output: { total: 5n } }) as never },
    allowlist: {
      allowed: ["add", "decline", "odd", "big", "functions/circle", "silent", "guarded", "handled"],
      approvalRequired: ["charge_card"],
      denied: ["wipe"],
    },
  });
  dev = await startDev(config, { env: {}, log: { debug() {}, info() {}, warn() {}, error() {} } });
  api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 20_000 });
});
afterAll(async () => {
  await api.close();
  await dev.close();
});

/** Runs one step and says yes to whatever it asks; how it ended, in one line. */
async function outcomeOf(step: PlannedStep): Promise<string> {
  const created = await api.createRun({ agentId: "assistant", input: {}, steps: [step] }, signal);
  if (!created.ok) throw new Error(created.failure.message);
  for (;;) {
    const run = await api.run(created.value.id, signal);
    if (run.ok && isRunEnded(run.value.status)) break;
    const asked = await api.approvals(10, signal);
    for (const { id } of asked.ok ? asked.value : []) {
      await api.resolveApproval(id, true, null, signal);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const steps = await api.steps(created.value.id, signal);
  const [ended] = steps.ok ? steps.value : [];
  const { error, status, output } = ended as unknown as Record<string, JsonObject | string>;
  const { kind, message } = (error ?? {}) as { kind?: string; message?: string };
  const [call] = (output as { tool_calls?: JsonObject[] } | null)?.tool_calls ?? [];
  if (call !== undefined) {
    return `${String(call["decision"])}: ${String(call["error"] ?? call["output_preview"])}`;
  }
  return kind === undefined
    ? `${String(status)}: ${JSON.stringify(output)}`
    : `${kind}: ${message}`;
}

describe("a user's own tool", () => {
  it(
    "ends as this table says, in a tool step and called by a model [library.users-code]",
    {
      timeout: 200_000,
    },
    async () => {
      const rows: string[] = [];
      for (const { what, tool, input, step, call } of cases) {
        const asStep = await outcomeOf({
          type: "tool",
          input: { tool_name: tool, tool_input: input },
        });
        const asCall = await outcomeOf({
          type: "llm",
          input: { model: "scripted/default", task: `case: ${what}` },
        });
        rows.push(`${what.padEnd(18)} ${tool.padEnd(12)} tool step   ${asStep}`);
        rows.push(`${"".padEnd(31)} by a model  ${asCall}`);
        expect.soft(asStep).toMatch(step);
        expect.soft(asCall).toMatch(call);
      }
      process.stdout.write(`${rows.join("\n")}\n`);
      expect(charged).toHaveLength(2);
    },
  );
});
