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
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { ToolPins } from "../../machines/contracts/ports/tool-pins.ts";
import { type Place, pointerTo } from "./place.ts";

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
  /** Of a change: each place that differs, the first ones of many. */
  parts: ChangedPart[];
  /** How many more places differ. */
  more: number;
}

export interface ChangedPart {
  /** An RFC 6901 pointer into the tool, cut where it is long. */
  path: string;
  /** What stood there; absent for nothing. */
  before?: Json;
  /** What stands there now; absent for nothing. */
  after?: Json;
}

/** Places of one tool that are shown. */
const mostParts = 200;

/**
 * What differs, the server first, then tool by tool. It is there to be read: whether two sets are the same, their digests
 * alone say.
 */
export function changesBetween(accepted: ToolSetPin, current: ToolSetPin): ToolChange[] {
  const changes: ToolChange[] = [];
  for (const { tool, kind, was, is } of changedTools(accepted, current)) {
    const { parts, more } = kind === "changed" ? differences(was, is) : { parts: [], more: 0 };
    changes.push({ tool, kind, parts, more });
  }
  return changes;
}

interface ChangedTool extends Pick<ToolChange, "tool" | "kind"> {
  was: Json;
  is: Json;
}

/** Which tools differ, each looked at once as it is written canonically. */
function changedTools(accepted: ToolSetPin, current: ToolSetPin): ChangedTool[] {
  const changes: ChangedTool[] = [];
  const compare = (tool: string | null, was: Json, is: Json): void => {
    if (stringify(was) !== stringify(is)) changes.push({ tool, kind: "changed", was, is });
  };
  compare(null, { ...accepted.server }, { ...current.server });
  const [before, after] = [byName(accepted), byName(current)];
  for (const name of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    const [was, is] = [before.get(name), after.get(name)];
    if (was === undefined) changes.push({ tool: name, kind: "added", was: null, is: null });
    else if (is === undefined) changes.push({ tool: name, kind: "removed", was: null, is: null });
    else compare(name, was, is);
  }
  return changes;
}

const byName = ({ tools }: ToolSetPin) =>
  new Map(tools.map((tool) => [String(tool["name"]), tool]));

/** Values that hold no other, and those that hold others where nothing of the kind stood, with the places they differ in. */
function differences(was: Json, is: Json): Pick<ToolChange, "parts" | "more"> {
  const parts: ChangedPart[] = [];
  let more = 0;
  const waiting: [Place | null, Json | undefined, Json | undefined][] = [[null, was, is]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [place, before, after] = next;
    const keys = keysOfBoth(before, after);
    if (keys !== null) {
      for (const key of keys.toReversed()) {
        waiting.push([{ within: place, key }, partOf(before, key), partOf(after, key)]);
      }
    } else if (before === undefined || after === undefined || !isSame(before, after)) {
      if (parts.length === mostParts) more += 1;
      else {
        parts.push({
          path: pointerTo(place),
          ...(before === undefined ? {} : { before }),
          ...(after === undefined ? {} : { after }),
        });
      }
    }
  }
  return { parts, more };
}

const isSame = (one: Json, other: Json): boolean => stringify(one) === stringify(other);

const sizeOf = (value: Json | undefined): number =>
  typeof value === "object" && value !== null ? Object.keys(value).length : 0;

/** The keys to look below, in order; null where two values are to be compared as they are. */
function keysOfBoth(before: Json | undefined, after: Json | undefined): string[] | null {
  if (sizeOf(before) + sizeOf(after) === 0) return null;
  const [one, other] = [before ?? after, after ?? before];
  const isOpen = [one, other].every((value) => typeof value === "object" && value !== null);
  if (!isOpen || Array.isArray(one) !== Array.isArray(other)) return null;
  const keys = new Set([...Object.keys(one as object), ...Object.keys(other as object)]);
  return Array.isArray(one) ? [...keys] : [...keys].sort();
}

const partOf = (value: Json | undefined, key: string): Json | undefined =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as JsonObject)[key]
    : undefined;

/**
 * `first-use`: what a server has when it is first seen is accepted, and a change quarantines it: steps that call its
 * tools wait, put away, until somebody accepts it, for an hour at most. `strict`: what nobody has accepted is refused at
 * once, at first use too.
 */
export type PinMode = "first-use" | "strict";

/** How often the steps that wait for an acceptance look whether there is one. */
const lookAgainMs = 5_000;

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
        : { ...retryable("unavailable", `quarantined: ${said}`, lookAgainMs), untried: true },
    );
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const said = `what was accepted of ${what} can't be looked up: ${error.message}`;
    return fail(retryable("unavailable", said));
  }
}

/** `changed: read_file, write_file; added: sum`, the first few of each. */
function describeChanges(accepted: ToolSetPin, current: ToolSetPin): string {
  const changes = changedTools(accepted, current);
  const groups = (["changed", "added", "removed"] as const).flatMap((kind) => {
    const names = changes.filter((change) => change.kind === kind).map(({ tool }) => tool);
    if (names.length === 0) return [];
    const shown = names
      .slice(0, 5)
      .map((name) => (name === null ? "the server itself" : cutText(name, 128)));
    const more = names.length > shown.length ? ` and ${names.length - shown.length} more` : "";
    return [`${kind}: ${shown.join(", ")}${more}`];
  });
  return groups.length === 0 ? "their digests differ" : groups.join("; ");
}
