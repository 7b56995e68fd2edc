import { readToolArguments } from "../../machines/contracts/domain/step-input.ts";
import type { ToolCall } from "../../machines/contracts/ports/model-provider.ts";

/**
 * Both vendors take only letters, digits, `_` and `-` in a tool's name, at most 64; MCP allows more. Names are
 * changed where they must be on the way out, and changed back on the way in.
 */
export interface ToolNames {
  outward(name: string): string;
  inward(name: string): string;
}

export function createToolNames(names: readonly string[]): ToolNames {
  const outward = new Map<string, string>();
  const inward = new Map<string, string>();
  // Names that can stay go first, so that no changed name takes theirs.
  const plainFirst = [...names].sort((a, b) => Number(isPlain(b)) - Number(isPlain(a)));
  for (const name of plainFirst) {
    if (outward.has(name)) continue;
    const changed = unused(name, inward);
    outward.set(name, changed);
    inward.set(changed, name);
  }
  return {
    outward: (name) => outward.get(name) ?? tamed(name),
    inward: (name) => inward.get(name) ?? name,
  };
}

function isPlain(name: string): boolean {
  return /^[A-Za-z0-9_-]{1,64}$/u.test(name);
}

function tamed(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9_-]/gu, "_").slice(0, 64);
}

function unused(name: string, taken: ReadonlyMap<string, string>): string {
  if (isPlain(name)) return name;
  for (let count = 1; ; count += 1) {
    const suffix = count === 1 ? "" : `_${count}`;
    const candidate = tamed(name).slice(0, 64 - suffix.length) + suffix;
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
