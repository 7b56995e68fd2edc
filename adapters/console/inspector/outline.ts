import { redact } from "../../../machines/contracts/domain/redact.ts";
import { cutText } from "../../../machines/contracts/domain/text.ts";

const mostNodes = 3_000;
const itemsShown = 500;
const longestText = 20_000;
/** Of all texts together: to look for secrets in them takes time. */
const mostText = 500_000;
const deepest = 12;

/**
 * A value as it can be shown: without secrets, and of a size that a page can draw. What is left out is said in its
 * place.
 *
 * @param hide takes this process's own secrets out of a text
 */
export function outline(value: unknown, hide: (text: string) => string): unknown {
  return redact(bounded(value, { nodes: mostNodes, text: mostText }, 0), hide);
}

function bounded(value: unknown, left: { nodes: number; text: number }, depth: number): unknown {
  left.nodes -= 1;
  if (typeof value === "string") {
    const most = Math.max(0, Math.min(longestText, left.text));
    left.text -= value.length;
    const over = value.length - most;
    return over > 0 ? `${cutText(value, most)}… (${over} more)` : value;
  }
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return `[function ${value.name}]`;
  if (typeof value !== "object" || value === null) return value;
  if (depth >= deepest) return "[deeper than is shown]";
  if (left.nodes <= 0) return "[more than is shown]";
  try {
    if (Array.isArray(value)) {
      const items = value.slice(0, itemsShown).map((item) => bounded(item, left, depth + 1));
      const over = value.length - itemsShown;
      return over > 0 ? [...items, `[${over} more items]`] : items;
    }
    if (!isPlain(value)) return value instanceof Error ? value : `[${nameOf(value)}]`;
    const keys = Object.keys(value);
    const pairs = keys
      .slice(0, itemsShown)
      .map((key) => [key, bounded((value as never)[key], left, depth + 1)] as const);
    const over = keys.length - itemsShown;
    return Object.fromEntries(over > 0 ? [...pairs, ["…", `${over} more keys`]] : pairs);
  } catch {
    return "[can't be read]";
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

const nameOf = (value: object): string => value.constructor?.name ?? "object";

const mostCounted = 20_000;

/**
 * About how many bytes a value takes, without looking at all of one that is large. It goes by values, not by `for … in`:
 * V8 compiled a loop over keys for the shapes it knew, met another, and compiled it again for as long as steps ended.
 */
export function roughSize(value: unknown): number {
  const left: unknown[] = [value];
  let bytes = 0;
  for (let nodes = 1; left.length > 0; nodes += 1) {
    // Of one that is larger than that, nobody knows how large.
    if (nodes > mostCounted) return 8 * bytes;
    const item = left.pop();
    if (typeof item === "string") bytes += 16 + 2 * item.length;
    else if (typeof item !== "object" || item === null) bytes += 8;
    else {
      bytes += 32;
      for (const inner of Object.values(item)) left.push(inner);
    }
  }
  return bytes;
}
