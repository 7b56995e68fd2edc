import { createHash } from "node:crypto";
import { readToolArguments } from "../../machines/contracts/domain/step-input.ts";
import type { ToolCall } from "../../machines/contracts/ports/model-provider.ts";

/**
 * Vendors take only ASCII letters, digits, `_` and `-` in a tool's name, at most 64, and Gemini no digit or `-` to begin
 * with; MCP allows more. Names are changed where they must be on the way out, and changed back on the way in.
 *
 *   taken as it is       a name that every vendor takes
 *   files.read           `files_read`, where the points between its words are all that has to change, and no other tool
 *                        offered is or would be called so
 *   anything else        what can be kept of it, and a part of its digest
 *
 * So a name depends on which tools are offered, and never on their order.
 */
export interface ToolNames {
  outward(name: string): string;
  inward(name: string): string;
}

export function createToolNames(names: readonly string[]): ToolNames {
  const different = new Set(names);
  /** How many want to be called so; a name that can stay has the first right to it. */
  const wanted = new Map<string, number>();
  for (const name of different) {
    const weight = isPlain(name) ? 2 : 1;
    wanted.set(tamed(name), (wanted.get(tamed(name)) ?? 0) + weight);
  }
  const inward = new Map<string, string>(
    [...different].filter(isPlain).map((name) => [name, name]),
  );
  const outward = new Map(inward);
  for (const name of different) {
    if (outward.has(name)) continue;
    const changed = changedName(name, wanted, inward);
    outward.set(name, changed);
    inward.set(changed, name);
  }
  return {
    // What is offered no more may still stand in the conversation: it takes nobody else's name.
    outward: (name) => outward.get(name) ?? changedName(name, new Map(), inward),
    inward: (name) => inward.get(name) ?? name,
  };
}

function isPlain(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/u.test(name);
}

function tamed(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9_-]/gu, "_").replace(/^(?![A-Za-z_])/u, "_");
}

/** Whether a name, once tamed, is still the one that a person knows. */
function isSpoken(name: string): boolean {
  return isPlain(name) || /^[A-Za-z][A-Za-z0-9_./:-]{0,63}$/u.test(name);
}

function changedName(
  name: string,
  wanted: ReadonlyMap<string, number>,
  taken: ReadonlyMap<string, string>,
): string {
  const plain = tamed(name);
  if (isSpoken(name) && (wanted.get(plain) ?? 0) < 2 && !taken.has(plain)) return plain;
  // A server may well offer a tool that is called just as another one's changed name would be.
  for (let salt = ""; ; salt += "+") {
    const digest = createHash("sha256")
      .update(name + salt)
      .digest("hex");
    const candidate = `${plain.slice(0, 55)}_${digest.slice(0, 8)}`;
    if (!taken.has(candidate)) return candidate;
  }
}

/**
 * The arguments of a tool call in a model's answer. A call in a message that ended at the token limit is never
 * runnable, however whole it looks: one SDK closes the open braces by itself.
 */
export function readAnsweredArguments(
  given: unknown,
  isCutOff: boolean,
): Pick<ToolCall, "arguments" | "problem" | "cutOff"> {
  if (isCutOff) return { arguments: null, problem: "cut off at the token limit", cutOff: true };
  return readToolArguments(given);
}
