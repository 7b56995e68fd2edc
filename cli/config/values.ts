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

const readWhole = (least: number, most: number) => (given: unknown) => {
  const number = typeof given === "string" && /^\d+$/.test(given.trim()) ? Number(given) : given;
  return Number.isSafeInteger(number) && Number(number) >= least && Number(number) <= most
    ? Number(number)
    : undefined;
};

/** A whole number within bounds; `unit` stands behind it in the message. */
export function whole(least: number, most: number, unit: string) {
  return value(`a whole number of ${unit}, ${least} to ${most}`, readWhole(least, most));
}
export function optionalWhole(least: number, most: number, unit: string) {
  return optional(`a whole number of ${unit}, ${least} to ${most}`, readWhole(least, most));
}

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
