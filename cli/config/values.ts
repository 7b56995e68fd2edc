import { type } from "arktype";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { type AnyTool, readTool } from "../../adapters/functions/define-tool.ts";
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

/** Words as a list, or in one text with commas or spaces between them. */
export const optionalWords = (expected: string) =>
  optional(expected, (given): string[] | undefined => {
    const words: unknown = typeof given === "string" ? given.split(/[\s,]+/u) : given;
    if (!Array.isArray(words)) return undefined;
    const texts = words.filter((word): word is string => typeof word === "string");
    return texts.length === words.length ? texts.filter((word) => word !== "") : undefined;
  });

/** A whole number within its bounds. */
export const whole = (bounds: Bounds) => value(within(bounds), readWhole(bounds));
export const optionalWhole = (bounds: Bounds) => optional(within(bounds), readWhole(bounds));

/** A part of a whole. */
export const share = value("a number from 0 to 1", (given): number | undefined => {
  const number = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
  return typeof number === "number" && number >= 0 && number <= 1 ? number : undefined;
});

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

/** Tools of the user's own, read and without two of one name; of one that can't be used the message says why. */
export const optionalTools = type("unknown").pipe((given, ctx): AnyTool[] | null => {
  if (given === null) return null;
  if (!Array.isArray(given)) return ctx.error("a list of tools made with defineTool") as never;
  const names = new Set<string>();
  for (const [at, tool] of given.entries()) {
    const read = readTool(tool);
    if (typeof read === "string") return ctx.error(`usable tools; at ${at}: ${read}`) as never;
    if (names.has(read.name))
      return ctx.error(`tools of different names; two are called "${read.name}"`) as never;
    names.add(read.name);
  }
  return given as AnyTool[];
});

/** A function of the user's own, which only a `.ts` or `.js` file can give. */
export function optionalFunction<F extends (...args: never[]) => unknown>() {
  return optional<F>("a function (from a .ts or .js file)", (given) =>
    typeof given === "function" ? (given as F) : undefined,
  );
}
