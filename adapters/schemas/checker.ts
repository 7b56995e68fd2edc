import { createHash } from "node:crypto";
import type { ErrorObject } from "ajv";
import { jsonDepth, maxJsonDepth, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type {
  CompiledSchema,
  SchemaChecker,
  SchemaVerdict,
} from "../../machines/contracts/ports/schema-checker.ts";
import { createReader, metaProblem, Steps } from "./bounded-ajv.ts";
import { type Dialect, type PreparedSchema, prepareSchema } from "./prepare.ts";

/** Characters of JSON of one schema. */
const maxSchemaLength = 256 * 1024;
/** What one check may cost, in steps: so much for any value, and more in proportion to the value's size. */
const baseSteps = 250_000;
const stepsPerPart = 10;
/** Arrays, objects and plain values of one value: Ajv makes an object of every branch that fails on one of them. */
const maxParts = 500_000;
/** Compiled schemas that are kept; the one that was not used for longest goes first. */
const maxKept = 256;
/** The patterns of all of them: a compiled one takes some eighty bytes for each of its characters. */
const maxKeptPatterns = 500_000;

/** Schemas by Ajv, bounded: see `prepare.ts` for what a schema may be, `bounded-ajv.ts` for what it may do. */
export function createSchemaChecker(): SchemaChecker {
  const kept = new Map<string, Kept>();
  let patterns = 0;
  return {
    compile(schema) {
      const text = written(schema);
      if (text === null) return "is not JSON";
      if (text.length > maxSchemaLength) return `is longer than ${maxSchemaLength} characters`;
      const digest = createHash("sha256").update(text).digest("base64");
      const known = kept.get(digest);
      const made = known ?? compileIn(schema);
      if (known === undefined) patterns += made.patterns;
      kept.delete(digest);
      kept.set(digest, made);
      for (const [oldest, one] of kept) {
        if (kept.size <= maxKept && (patterns <= maxKeptPatterns || kept.size === 1)) break;
        kept.delete(oldest);
        patterns -= one.patterns;
      }
      return made.compiled;
    },
  };
}

/** Null for what JSON can't say, or says only by a stack that has no end. */
function written(schema: JsonObject): string | null {
  try {
    return JSON.stringify(schema);
  } catch {
    return null;
  }
}

interface Kept {
  compiled: CompiledSchema | string;
  /** How large its patterns are. */
  patterns: number;
}

function compileIn(schema: JsonObject): Kept {
  try {
    const prepared = prepareSchema(schema);
    if (typeof prepared === "string") return { compiled: prepared, patterns: 0 };
    return { compiled: compilePrepared(prepared), patterns: prepared.sizeOfPatterns };
  } catch (error) {
    return { compiled: cutText(messageOf(error), 300), patterns: 0 };
  }
}

/** By the dialect it names; else by 2020-12, which MCP takes for granted, or by draft 7 where only that can read it. */
function compilePrepared(prepared: PreparedSchema): CompiledSchema | string {
  const compiled = compileAs(prepared.dialect ?? "2020-12", prepared);
  if (typeof compiled !== "string" || prepared.dialect !== null) return compiled;
  const earlier = compileAs("draft-07", prepared);
  return typeof earlier === "string" ? compiled : earlier;
}

function compileAs(dialect: Dialect, prepared: PreparedSchema): CompiledSchema | string {
  const { schema, subschemas } = prepared;
  const problem = metaProblem(dialect, schema);
  if (problem !== null) return `${problem} (${dialect})`;
  const steps = new Steps();
  const unchecked: string[] = [];
  try {
    const validate = createReader(dialect, steps, { subschemas, unchecked }).compile(schema);
    return { unchecked, check: (value) => check(validate, steps, value) };
  } catch (error) {
    return cutText(messageOf(error), 300);
  }
}

interface Validate {
  (value: unknown): unknown;
  errors?: ErrorObject[] | null;
}

function check(validate: Validate, steps: Steps, value: unknown): SchemaVerdict {
  if (jsonDepth(value, maxJsonDepth) > maxJsonDepth) {
    return { kind: "invalid", problem: `is nested deeper than ${maxJsonDepth} levels` };
  }
  const parts = countParts(value);
  if (parts > maxParts) {
    return {
      kind: "unusable",
      problem: `is not applied to a value of more than ${maxParts} parts`,
    };
  }
  try {
    steps.reset(baseSteps + stepsPerPart * parts);
    if (validate(value) === true) return { kind: "valid" };
    return { kind: "invalid", problem: describe(validate.errors?.[0]) };
  } catch (error) {
    // Too much work, or a schema that refers to itself and never comes to the value.
    const problem = error instanceof RangeError ? "refers to itself without end" : messageOf(error);
    return { kind: "unusable", problem: cutText(problem, 300) };
  }
}

/** Stops counting above the bound. Called only for a value of bounded depth. */
function countParts(value: unknown): number {
  const waiting: unknown[] = [value];
  let count = 0;
  while (waiting.length > 0 && count <= maxParts) {
    const item = waiting.pop();
    count += 1;
    if (typeof item !== "object" || item === null) continue;
    for (const part of Object.values(item)) waiting.push(part);
  }
  return count;
}

function describe(error: ErrorObject | undefined): string {
  if (error === undefined) return "does not match its schema";
  const params = error.params as { additionalProperty?: string; allowedValues?: unknown[] };
  const detail = params.additionalProperty ?? params.allowedValues?.join(", ");
  const where = error.instancePath === "" ? "" : `${cutText(error.instancePath, 200)} `;
  const what = cutText(error.message ?? "is wrong", 200);
  return `${where}${what}${detail === undefined ? "" : ` (${cutText(detail, 200)})`}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
