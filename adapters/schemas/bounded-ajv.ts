import { createRequire } from "node:module";
import type { FormatsPlugin } from "ajv-formats";
import type { Ajv, CodeOptions, Format, Options } from "ajv";
import type { RE2JS } from "re2js";
import { stringify } from "safe-stable-stringify";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { costKeyword, type Dialect } from "./prepare.ts";

const require = createRequire(import.meta.url);
let loaded: ReturnType<typeof load> | null = null;

/** Ajv is a hundred modules, and many workers never see a schema: it is loaded when the first one is read. */
function load() {
  const { _, Ajv: Ajv07 } = require("ajv") as typeof import("ajv");
  const { Ajv2019 } = require("ajv/dist/2019.js") as typeof import("ajv/dist/2019.js");
  const { Ajv2020 } = require("ajv/dist/2020.js") as typeof import("ajv/dist/2020.js");
  const formats = (require("ajv-formats") as { default: FormatsPlugin }).default;
  const readers = { "draft-07": Ajv07, "2019-09": Ajv2019, "2020-12": Ajv2020 };
  const named = formatNames.map((name) => [name, bounded(name, formats.get(name))]);
  const boundedFormats: Record<string, Format> = {
    ...Object.fromEntries(named),
    // Not Ajv's: a quadratic expression.
    url: (text: string) => /^(?:https?|ftp):\/\//i.test(text) && URL.canParse(text),
  };
  return { _, readers, boundedFormats };
}

const ajv = () => (loaded ??= load());

/** As large as all of Ajv, and few schemas have patterns. */
const re2 = (): typeof RE2JS => (require("re2js") as typeof import("re2js")).RE2JS;

/** Thrown out of a check that would have worked for too long. */
export class TooMuchWork extends Error {
  override readonly name = "TooMuchWork";
}

/** The steps that one check may still take: each look at a subschema, each part of a value, each pattern's work. */
export class Steps {
  #left = 0;

  reset(steps: number): void {
    this.#left = steps;
  }

  spend(steps: number): void {
    this.#left -= steps;
    if (this.#left < 0) throw new TooMuchWork("takes too much work to check");
  }
}

/** Formats whose expressions may take quadratic time: a longer text is none of them. */
const shortFormats = new Set(["email", "regex"]);
const maxShortLength = 4_096;

const formatNames = [
  "byte",
  "date",
  "date-time",
  "duration",
  "email",
  "hostname",
  "int32",
  "int64",
  "ipv4",
  "ipv6",
  "json-pointer",
  "json-pointer-uri-fragment",
  "regex",
  "relative-json-pointer",
  "time",
  "uri",
  "uri-reference",
  "uri-template",
  "uuid",
] as const;

function bounded(name: string, format: Format): Format {
  if (!shortFormats.has(name)) return format;
  const matches = format instanceof RegExp ? (text: string) => format.test(text) : format;
  if (typeof matches !== "function") throw new Error(`format ${name} can't be bounded`);
  return (text: string) => text.length <= maxShortLength && matches(text);
}

/**
 * A reader of one dialect, made anew for every schema (one schema's `$id`s must not resolve another's `$ref`s),
 * that counts its steps, matches patterns in linear time, and compares items without comparing each with each.
 */
export function createReader(
  dialect: Dialect,
  steps: Steps,
  code: { subschemas: WeakSet<object>; unchecked: string[] },
): Ajv {
  const { _, readers, boundedFormats } = ajv();
  const options: Options = {
    strict: false,
    logger: false,
    meta: false,
    validateSchema: false,
    // Every reference is a call of a function of its own: then none is followed into what is no schema.
    inlineRefs: false,
    // A property that only Object.prototype has is not there.
    ownProperties: true,
    formats: boundedFormats,
    code: {
      optimize: false,
      regExp: linearRegExp(steps, code.unchecked),
      process: onlySubschemas(code.subschemas),
    },
  };
  const reader = new readers[dialect](options) as Ajv;
  reader.removeKeyword("uniqueItems");
  reader.addKeyword({
    keyword: "uniqueItems",
    type: "array",
    schemaType: "boolean",
    error: { message: "must NOT have duplicate items" },
    compile: (on: boolean) => (data: unknown[]) => !on || areUnique(data, steps),
  });
  const spend = (cost: number, data: unknown) => steps.spend(cost + sizeOf(data));
  reader.addKeyword({
    keyword: costKeyword,
    schemaType: "number",
    before: "$ref",
    // One function for all: Ajv takes quadratic time over the values that its code refers to.
    code({ gen, schema, data }) {
      gen.code(_`${gen.scopeValue("func", { ref: spend })}(${schema as number}, ${data})`);
    },
  });
  return reader;
}

const metaReaders = new Map<Dialect, Ajv>();

/** What the dialect's own schema says is wrong with a schema; null when it is sound. */
export function metaProblem(dialect: Dialect, schema: object): string | null {
  let reader = metaReaders.get(dialect);
  if (reader === undefined) {
    reader = new (ajv().readers[dialect])({
      strict: false,
      logger: false,
      validateFormats: false,
    }) as Ajv;
    metaReaders.set(dialect, reader);
  }
  if (reader.validateSchema(schema) === true) return null;
  const [first] = reader.errors ?? [];
  return `${cutText(first?.instancePath ?? "", 200) || "the schema"} ${first?.message ?? "is wrong"}`;
}

/** RE2 takes time in proportion to the text; what it can't do (looking around, back references) is passed over. */
function linearRegExp(steps: Steps, unchecked: string[]): NonNullable<CodeOptions["regExp"]> {
  const engine = (pattern: string) => {
    const compiled = compilePattern(pattern);
    if (compiled === null) unchecked.push(pattern);
    const size = compiled?.programSize() ?? 0;
    return {
      test(text: string): boolean {
        if (compiled === null) return true;
        steps.spend((size * text.length) / 64);
        return compiled.test(text);
      },
      // Ajv keeps one engine for all that are written alike.
      toString: () => `/${pattern}/`,
    };
  };
  // Ajv wants the text that would make the engine in generated files; we generate none.
  return Object.assign(engine as unknown as NonNullable<CodeOptions["regExp"]>, { code: "" });
}

function compilePattern(pattern: string): RE2JS | null {
  try {
    return re2().compile(re2().translateRegExp(pattern));
  } catch {
    return null;
  }
}

function onlySubschemas(subschemas: WeakSet<object>): NonNullable<CodeOptions["process"]> {
  return (source, env) => {
    const schema = env?.schema;
    if (typeof schema === "object" && !subschemas.has(schema)) {
      throw new Error("refers to a place that is no schema");
    }
    return source;
  };
}

function areUnique(items: readonly unknown[], steps: Steps): boolean {
  const seen = new Set<string>();
  for (const item of items) {
    const text = stringify(item) ?? "";
    steps.spend(1 + text.length / 64);
    if (seen.has(text)) return false;
    seen.add(text);
  }
  return true;
}

function sizeOf(data: unknown): number {
  if (typeof data === "string") return data.length / 64;
  if (typeof data !== "object" || data === null) return 0;
  return Array.isArray(data) ? data.length : Object.keys(data).length;
}
