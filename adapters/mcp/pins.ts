import { createHash } from "node:crypto";
import { type } from "arktype";
import { stringify } from "safe-stable-stringify";
import type { Tool } from "@modelcontextprotocol/client";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import {
  fail,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import type { ToolPins } from "../../machines/contracts/ports/tool-pins.ts";

/** Who a server says that it is. */
export interface ServerIdentity {
  name: string;
  version: string;
}

/**
 * The whole tool set of a server: who it is, and of each tool all that a model is shown and a call is judged by. What
 * was accepted of a server is kept as one, and any difference from it counts.
 */
export interface ToolSetPin {
  /** Hex SHA-256 of the rest, canonically written. */
  digest: string;
  server: ServerIdentity;
  /** By name, in order. */
  tools: JsonObject[];
}

export function pinOf(server: ServerIdentity, tools: Iterable<Tool>): ToolSetPin {
  const shown = [...tools]
    // `_meta` is a place for bookkeeping, which may differ from list to list.
    .map(({ _meta, ...tool }) => structuredClone(tool) as JsonObject)
    .sort((one, other) => (String(one["name"]) < String(other["name"]) ? -1 : 1));
  const { name, version } = server;
  const whole = { server: { name, version }, tools: shown };
  const digest = createHash("sha256").update(stringify(whole)).digest("hex");
  return { digest, ...whole };
}

const pinShape = type("string.json.parse").to({
  digest: "string",
  server: { name: "string", version: "string" },
  tools: type("object").array(),
});

/** Null for what nobody here has written. */
export function readPin(text: string): ToolSetPin | null {
  const read = pinShape(text);
  return read instanceof type.errors ? null : (read as ToolSetPin);
}

export const writePin = (pin: ToolSetPin): string => JSON.stringify(pin);

export interface ToolChange {
  /** The tool's name; null for the server itself. */
  tool: string | null;
  kind: "added" | "removed" | "changed";
  /** Of a change: each place that differs, with what stood and stands there; null for nothing. */
  parts: { path: string; before: Json; after: Json }[];
}

/** What differs, the server first, then tool by tool. */
export function changesBetween(accepted: ToolSetPin, current: ToolSetPin): ToolChange[] {
  const changes: ToolChange[] = [];
  const compare = (tool: string | null, before: Json, after: Json) => {
    const parts = differences(before, after);
    if (parts.length > 0) changes.push({ tool, kind: "changed", parts });
  };
  compare(null, { ...accepted.server }, { ...current.server });
  const [before, after] = [byName(accepted), byName(current)];
  for (const name of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    const [was, is] = [before.get(name), after.get(name)];
    if (was === undefined) changes.push({ tool: name, kind: "added", parts: [] });
    else if (is === undefined) changes.push({ tool: name, kind: "removed", parts: [] });
    else compare(name, was, is);
  }
  return changes;
}

const byName = ({ tools }: ToolSetPin) =>
  new Map(tools.map((tool) => [String(tool["name"]), tool]));

function differences(before: Json, after: Json): ToolChange["parts"] {
  const [was, is] = [leaves(before), leaves(after)];
  return [...new Set([...was.keys(), ...is.keys()])]
    .map((path) => ({ path, before: was.get(path) ?? null, after: is.get(path) ?? null }))
    .filter((part) => JSON.stringify(part.before) !== JSON.stringify(part.after));
}

/** Every value that holds no other, by its path. */
function leaves(value: Json): Map<string, Json> {
  const found = new Map<string, Json>();
  const waiting: [string, Json][] = [["", value]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [path, item] = next;
    const isOpen = typeof item === "object" && item !== null && Object.keys(item).length > 0;
    if (!isOpen) {
      found.set(path, item);
      continue;
    }
    for (const [key, part] of Object.entries(item)) {
      waiting.push([path === "" ? key : `${path}.${key}`, part as Json]);
    }
  }
  return new Map([...found].sort(([one], [other]) => (one < other ? -1 : 1)));
}

/**
 * `first-use`: what a server has when it is first seen is accepted, and a change quarantines it: its calls are tried
 * again as if it could not be reached, until somebody accepts it. `strict`: what nobody has accepted is refused at once, at first use too.
 */
export type PinMode = "first-use" | "strict";

export interface PinOptions {
  store: ToolPins;
  mode: PinMode;
  /** What a person types to run a command of this program: of `tools accept odd` the whole line. */
  commandLine(rest: string): string;
}

/** Whether a server's tools are those that were accepted: nothing when they are, else why none of them may be used. */
export async function checkPin(
  { store, mode, commandLine }: PinOptions,
  server: string,
  current: ToolSetPin,
): Promise<Outcome<null>> {
  const what = `MCP server "${server}"`;
  const accept = `\`${commandLine(`tools accept ${server}`)}\``;
  try {
    const kept =
      mode === "strict"
        ? await store.find(server)
        : await store.keepFirst(server, writePin(current));
    if (kept === null) {
      return fail(
        terminal(
          "policy_denied",
          `nobody has accepted the tools of ${what}: accept them with ${accept}`,
        ),
      );
    }
    const accepted = readPin(kept);
    if (accepted?.digest === current.digest) return ok(null);
    const changed = accepted === null ? "can't be read" : describeChanges(accepted, current);
    const said = `the tools of ${what} are not those that were accepted (${changed}): look at them with \`${commandLine(`tools diff ${server}`)}\`, accept them with ${accept}`;
    return fail(
      mode === "strict"
        ? terminal("policy_denied", said)
        : retryable("unavailable", `quarantined: ${said}`),
    );
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const said = `what was accepted of ${what} can't be looked up: ${error.message}`;
    return fail(retryable("unavailable", said));
  }
}

/** `changed: read_file, write_file; added: sum`, the first few of each. */
function describeChanges(accepted: ToolSetPin, current: ToolSetPin): string {
  const changes = changesBetween(accepted, current);
  const groups = (["changed", "added", "removed"] as const).flatMap((kind) => {
    const names = changes.filter((change) => change.kind === kind).map(({ tool }) => tool);
    if (names.length === 0) return [];
    const shown = names.slice(0, 5).map((name) => (name === null ? "the server itself" : name));
    const more = names.length > shown.length ? ` and ${names.length - shown.length} more` : "";
    return [`${kind}: ${shown.join(", ")}${more}`];
  });
  return groups.join("; ");
}
