import { type } from "arktype";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { parseRedisUrl } from "../../adapters/redis/connect.ts";

/** A value as it comes: text from flags and the environment, anything from a file. What it should be is told, never what it was. */
function value<T>(expected: string, read: (given: unknown) => T | undefined) {
  return type("unknown").pipe((given, ctx): T => read(given) ?? (ctx.error(expected) as never));
}

/** `value`, or null for "not set". */
function optional<T>(expected: string, read: (given: unknown) => T | undefined) {
  return type("unknown").pipe((given, ctx): T | null =>
    given === null ? null : (read(given) ?? (ctx.error(expected) as never)),
  );
}

const readText = (given: unknown) =>
  typeof given === "string" && given.trim() !== "" ? given.trim() : undefined;

export const text = (expected: string) => value(expected, readText);
export const optionalText = (expected: string) => optional(expected, readText);

/** Both ends are allowed; `what` stands before them in the message. */
export interface Bounds {
  least: number;
  most: number;
  what: string;
}

const readWhole =
  ({ least, most }: Bounds) =>
  (given: unknown) => {
    const number = typeof given === "string" && /^\d+$/.test(given.trim()) ? Number(given) : given;
    return Number.isSafeInteger(number) && Number(number) >= least && Number(number) <= most
      ? Number(number)
      : undefined;
  };

const within = ({ least, most, what }: Bounds) => `${what} from ${least} to ${most}`;

/** A whole number within its bounds. */
export const whole = (bounds: Bounds) => value(within(bounds), readWhole(bounds));
export const optionalWhole = (bounds: Bounds) => optional(within(bounds), readWhole(bounds));

/** One of a few words, in any case; `aliases` are other words for the same. */
export function oneOf<const W extends string>(
  words: readonly W[],
  aliases: Record<string, W> = {},
) {
  return value(`one of ${words.join(", ")}`, (given): W | undefined => {
    const word = readText(given)?.toLowerCase() ?? "";
    return words.find((known) => known === word) ?? aliases[word];
  });
}

const httpUrl = (given: unknown) => {
  const url = URL.parse(readText(given) ?? "");
  return url !== null && /^https?:$/.test(url.protocol) ? readText(given) : undefined;
};
export const httpAddress = value("an http:// or https:// address", httpUrl);
export const optionalUrl = optional("an http:// or https:// address", httpUrl);

export const optionalRedisUrl = type("unknown").pipe((given, ctx): string | null => {
  if (given === null) return null;
  const url = readText(given) ?? "";
  try {
    parseRedisUrl(url, "");
    return url;
  } catch (error) {
    const { expected } = error instanceof InvalidSetting ? error : { expected: "a Redis address" };
    return ctx.error(expected) as never;
  }
});

/** A function of the user's own, which only a `.ts` or `.js` file can give. */
export function optionalFunction<F extends (...args: never[]) => unknown>() {
  return optional<F>("a function (from a .ts or .js file)", (given) =>
    typeof given === "function" ? (given as F) : undefined,
  );
}

/** The known word that was probably meant: at most a third of its letters away. Null for none. */
export function nearest(word: string, known: readonly string[]): string | null {
  const [best] = known
    .map((candidate) => ({ candidate, far: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, far }) => far <= Math.ceil(candidate.length / 3))
    .sort((a, b) => a.far - b.far);
  return best?.candidate ?? null;
}

/** Letters to insert, leave out or change, the Levenshtein distance, row by row of its table. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [at, letter] of [...a].entries()) {
    const next = [at + 1];
    for (let to = 1; to <= b.length; to += 1) {
      const change = (row[to - 1] ?? 0) + (letter === b[to - 1] ? 0 : 1);
      next.push(Math.min(change, (row[to] ?? 0) + 1, (next[to - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
