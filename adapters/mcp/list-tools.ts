import { setImmediate } from "node:timers/promises";
import {
  type Client,
  specTypeSchemas,
  type StandardSchemaV1,
  type Tool,
} from "@modelcontextprotocol/client";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { noTimeout, type Route } from "./connect.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";

/** The SDK's own schema of a page fails the whole page for one tool that it can't read. */
const anyResult: StandardSchemaV1<unknown, Record<string, unknown>> = {
  "~standard": {
    version: 1,
    vendor: "stateplane",
    validate: (value) => ({ value: value as Record<string, unknown> }),
  },
};

/**
 * What one server may list, unreadable tools too, and how long one tool and the reason against it may be: each is looked
 * at in one turn. The largest server that is known has some hundreds of tools, of a few thousand characters.
 */
const most = { pages: 200, tools: 5_000, characters: 4_194_304, tool: 524_288, problem: 500 };

/** Milliseconds of one turn that a page may take; steps go on meanwhile. */
const turnMs = 10;

/** What the protocol has in a tool's name (2025-11-25, "Tool Names"), and the slash of its drafts, which is in use. */
const toolName = /^[A-Za-z0-9_.\-/]{1,128}$/u;

/**
 * All tools of a server, page by page and within bounds, the first of any name that is given twice. Not the SDK's
 * `listTools`: that forgets the output schemas of earlier pages, and one tool that can't be read fails the whole
 * list. Here such a tool is left out, and `leftOut` is told its name and what is wrong with it.
 *
 * @throws the SDK's errors, and the signal's reason
 */
export async function readTools(
  client: Client,
  route: Route,
  signal: AbortSignal,
  leftOut: (tool: string, problem: string) => void,
): Promise<Map<string, Tool>> {
  const tools = new Map<string, Tool>();
  if (client.getServerCapabilities()?.tools === undefined) return tools;
  const seen = new Set<string>();
  let [characters, count] = [0, 0];
  let cursor: string | undefined;
  for (let pages = 1; ; pages += 1) {
    const page = await client.request(
      { method: "tools/list", params: cursor === undefined ? {} : { cursor } },
      anyResult,
      { signal, timeout: noTimeout },
    );
    const { tools: listed, nextCursor } = page as { tools?: unknown; nextCursor?: unknown };
    if (!Array.isArray(listed)) throw new Error("tools/list gave no list of tools");
    count += listed.length;
    if (count > most.tools) throw new Error(`tools/list has more than ${most.tools} tools`);
    let begun = performance.now();
    for (const item of listed) {
      if (performance.now() - begun > turnMs) {
        await setImmediate();
        begun = performance.now();
      }
      const { length } = JSON.stringify(item);
      characters += length;
      if (characters > most.characters) {
        throw new Error(`tools/list is longer than ${most.characters} characters`);
      }
      if (length > most.tool) {
        leftOut(nameOf(item), `it is longer than ${most.tool} characters`);
        continue;
      }
      const read = specTypeSchemas.Tool["~standard"].validate(item);
      const name = nameOf(item);
      if (read.issues === undefined) {
        const fault = nameFault(name) ?? headerFault(route, read.value);
        if (fault !== null) leftOut(name, cutText(fault, most.problem));
        else if (!tools.has(name)) tools.set(name, read.value);
      } else {
        const [issue] = read.issues;
        const { unreadable } = (item ?? {}) as { unreadable?: unknown };
        const misshapen = `${issue?.path?.map(String).join(".") ?? ""}: ${issue?.message ?? "can't be read"}`;
        const problem = typeof unreadable === "string" ? unreadable : misshapen;
        leftOut(name, cutText(problem, most.problem));
      }
    }
    if (typeof nextCursor !== "string") return tools;
    if (seen.has(nextCursor)) throw new Error("tools/list goes in a circle");
    if (pages >= most.pages) throw new Error(`tools/list has more than ${most.pages} pages`);
    seen.add(nextCursor);
    cursor = nextCursor;
  }
}

/** For a person, where it is no tool's name. */
function nameOf(item: unknown): string {
  const { name } = (item ?? {}) as { name?: unknown };
  return typeof name !== "string" || name === "" ? "a tool without a name" : cutText(name, 200);
}

/** Lists, addresses and logs read such a name otherwise than whoever gave it. */
function nameFault(name: string): string | null {
  if (toolName.test(name)) return null;
  return "its name is not of 1 to 128 letters, digits, `_`, `-`, `.` and `/`";
}

/** Of a schema: what holds schemas that a value's own path says nothing of. */
const unreachable = [
  ..."items prefixItems contains additionalProperties patternProperties propertyNames unevaluatedItems".split(
    " ",
  ),
  ..."unevaluatedProperties dependentSchemas oneOf anyOf allOf not if then else $defs definitions".split(
    " ",
  ),
];
const schemasByName = new Set(["patternProperties", "dependentSchemas", "$defs", "definitions"]);
const headerName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/u;
const headerTypes = new Set<Json | undefined>(["string", "integer", "boolean"]);

/**
 * Over HTTP a stateless server may want arguments in headers too (`x-mcp-header` in its schema). A tool that says so in
 * a way that the protocol does not allow is not to be used (2026-07-28, Streamable HTTP, "Schema Extension").
 */
function headerFault({ kind, isHandshake }: Route, { inputSchema }: Tool): string | null {
  if (kind !== "http" || isHandshake) return null;
  const names = new Set<string>();
  const waiting: { schema: Json; isReachable: boolean; isRoot: boolean }[] = [
    { schema: inputSchema as JsonObject, isReachable: true, isRoot: true },
  ];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { schema, isReachable, isRoot } = next;
    if (!isJsonObject(schema)) continue;
    const { "x-mcp-header": name, type, properties } = schema;
    if (name !== undefined) {
      if (typeof name !== "string" || !headerName.test(name))
        return "its x-mcp-header is not a header's name";
      if (!isReachable || isRoot)
        return `its x-mcp-header ${name} is on nothing that is one argument`;
      if (!headerTypes.has(type))
        return `its x-mcp-header ${name} is on a value that no header can hold`;
      if (names.has(name.toLowerCase())) return `its x-mcp-header ${name} is there twice`;
      names.add(name.toLowerCase());
    }
    if (isJsonObject(properties)) {
      for (const item of Object.values(properties))
        waiting.push({ schema: item, isReachable, isRoot: false });
    }
    for (const key of unreachable) {
      const inner = schema[key];
      const items = Array.isArray(inner)
        ? inner
        : isJsonObject(inner) && schemasByName.has(key)
          ? Object.values(inner)
          : [inner];
      for (const item of items)
        if (isJsonObject(item)) waiting.push({ schema: item, isReachable: false, isRoot: false });
    }
  }
  return null;
}
