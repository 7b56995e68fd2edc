import addFormats from "ajv-formats";
import { Ajv2020 } from "ajv/dist/2020.js";
import { type Failure, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { isJsonObject, type Json } from "../../machines/contracts/domain/json.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import type { StepActivity } from "./session.ts";

/** Deeper than this, readers' recursive code is at risk. */
const maxDepth = 64;

/** Checks what came out: bounded, JSON through and through, and of the schema the step asked for. */
export const validate: StepActivity = async ({ context }) => check(context.output, context.job);

function check(output: Json, job: Job | null): StepEvent {
  if (depth(output) > maxDepth) {
    return invalid(
      terminal("invalid_output", `the output is nested deeper than ${maxDepth}`),
      false,
    );
  }
  const schema = job?.input["output_schema"];
  if (!isJsonObject(schema)) return { type: "output.valid", output };
  return job?.stepType === "llm" ? structured(output, schema) : conforming(output, schema);
}

/** A model's answer is text: the structured part is parsed from it, and may be sent back to be mended. */
function structured(output: Json, schema: object): StepEvent {
  const text = isJsonObject(output) ? output["response"] : null;
  const data = parse(typeof text === "string" ? text : "");
  if (data === undefined) {
    return invalid(terminal("invalid_output", "the answer is not JSON, as its schema asks"), true);
  }
  const problem = violation(schema, data);
  if (problem !== null) return invalid(problem, true);
  return { type: "output.valid", output: { ...(output as Record<string, Json>), data } };
}

function conforming(output: Json, schema: object): StepEvent {
  const problem = violation(schema, output);
  return problem === null ? { type: "output.valid", output } : invalid(problem, false);
}

function violation(schema: object, data: Json): Failure | null {
  const ajv = new Ajv2020({ strict: false, allErrors: false });
  addFormats.default(ajv);
  try {
    if (ajv.validate(schema, data)) return null;
    return terminal("invalid_output", `the output breaks its schema: ${ajv.errorsText()}`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return terminal("invalid_input", `the step's output_schema is no JSON Schema: ${why}`);
  }
}

function invalid(failure: Failure, repairable: boolean): StepEvent {
  return {
    type: "output.invalid",
    failure,
    repairable: repairable && failure.kind === "invalid_output",
  };
}

/** JSON as it stands, or out of a fenced block, as models like to give it. */
function parse(text: string): Json | undefined {
  const fenced = /```(?:json)?\s*\n([\s\S]*?)\n```/.exec(text)?.[1];
  try {
    return JSON.parse(fenced ?? text) as Json;
  } catch {
    return undefined;
  }
}

function depth(value: Json): number {
  let level: Json[] = [value];
  let deep = 0;
  while (level.length > 0 && deep <= maxDepth) {
    deep += 1;
    level = level.flatMap((item) =>
      typeof item === "object" && item !== null ? Object.values(item) : [],
    );
  }
  return deep;
}
