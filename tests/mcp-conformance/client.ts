/**
 * The client that the conformance suite's scenarios are played against: our tool host over the one server whose address
 * is the last argument. It lists the tools and calls each as the scenario says, or with an example of its input.
 */
import { createToolHost } from "../../adapters/mcp/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type { ToolDescription, ToolResult } from "../../machines/contracts/ports/tool-host.ts";
import { answersOfYes } from "../../actors/handlers/tool-questions.ts";

interface Context {
  client_id?: string;
  client_secret?: string;
  toolCalls?: { name: string; arguments: JsonObject }[];
}

const url = process.argv.at(-1) ?? "";
const context = JSON.parse(process.env["MCP_CONFORMANCE_CONTEXT"] ?? "{}") as Context;
const note = (fields: object, message: string): void =>
  void process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
const { client_id: clientId, client_secret: clientSecret } = context;
const oauth =
  clientId === undefined || clientSecret === undefined ? {} : { oauth: { clientId, clientSecret } };
const host = createToolHost({
  servers: [{ name: "suite", url, ...oauth }],
  schemas: createSchemaChecker(),
  log: { debug: note, info: note, warn: note, error: note },
  clientInfo: { name: "stateplane", version: "1.0.0" },
  timeoutMs: 10_000,
});
const never = new AbortController().signal;

/** An example of what the tool takes; for a tool that takes a schema, that of the tool the scenario is about. */
function exampleFor({ inputSchema }: ToolDescription, all: readonly ToolDescription[]): JsonObject {
  const properties = (inputSchema["properties"] ?? {}) as Record<string, JsonObject>;
  const focal = all.find(({ name }) => name === "json_schema_2020_12_tool")?.inputSchema ?? {};
  const examples: Record<string, Json> = {
    number: 2,
    integer: 2,
    boolean: true,
    array: [],
    object: focal,
  };
  return Object.fromEntries(
    Object.entries(properties).map(([name, { type }]) => [name, examples[String(type)] ?? "x"]),
  );
}

/** As a tool step calls it, with a person who says yes to each question at once. */
async function callWithYes(tool: ToolDescription, input: JsonObject): Promise<Outcome<ToolResult>> {
  let called = await host.call(tool, input, never);
  while (called.ok && called.value.asks !== undefined) {
    const answers = answersOfYes(tool, called.value.asks);
    if (!answers.ok) return answers;
    called = await host.call(tool, input, never, undefined, answers.value);
  }
  return called;
}

const listed = await host.list(never);
if (!listed.ok) note(listed.failure, "no list of tools:");
const tools = listed.ok ? listed.value : [];
// What a schema does not allow is not sent: an argument without a value is left out.
const given = (input: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(input).filter(([, value]) => value !== null));
const planned = context.toolCalls?.map((call) => ({
  name: call.name,
  input: given(call.arguments),
}));
const calls = planned ?? tools.map((tool) => ({ name: tool.name, input: exampleFor(tool, tools) }));
await Promise.all(
  calls.map(async ({ name, input }) => {
    const tool = tools.find((known) => known.name === name);
    if (tool !== undefined) note(await callWithYes(tool, input), `${name}:`);
  }),
);
await host.close();
