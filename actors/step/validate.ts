import { type Failure, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import {
  isJsonObject,
  type Json,
  type JsonObject,
  parseJson,
} from "../../machines/contracts/domain/json.ts";
import { cutText, wellFormed } from "../../machines/contracts/domain/text.ts";
import type { SchemaChecker } from "../../machines/contracts/ports/schema-checker.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { readPrompt, refusalOf } from "../handlers/incoming.ts";
import { jsonCandidates, wholeAnswer } from "./find-json.ts";
import { screenOf } from "./screening.ts";
import type { StepActivity } from "./session.ts";

/** Deeper than this, readers' recursive code is at risk; a report adds some levels of its own. */
const maxDepth = 64;

/** Characters of an answer that was not accepted that are shown to the model again. */
const shownAnswerLength = 32_768;

/** Checks what came out: bounded, JSON through and through, and of the schema the step asked for. */
export const validate: StepActivity = async (scope) => {
  const { ports, context, session, options } = scope;
  const { job } = context;
  const problem = jsonProblem(context.output);
  if (problem !== null) return invalid(terminal("invalid_output", `the output ${problem}`));
  const { value, findings, isRefused } = screenOf(scope).screen(wellFormed(context.output));
  const given = job?.stepType === "llm" ? readPrompt(job, options.screening).findings : [];
  const all = [...given, ...findings];
  if (all.length > 0) session.log.info({ findings: all }, "screening found something in the step");
  if (isRefused) return invalid(refusalOf("the output", findings));
  // What was taken out on the way is told beside the output, and is no part of what its schema speaks of.
  const { output, before } = apart(value);
  const event = check(ports.schemas, output, job);
  if (event.type !== "output.valid") return event;
  const told = withFindings(event.output, [...before, ...(all as unknown as Json[])]);
  // A schema that has no place for them is kept: what is reported meets it, and the log has the findings.
  const meets = job?.stepType === "llm" || check(ports.schemas, told, job).type === "output.valid";
  if (!meets) session.log.info({ findings: before }, "screening took something out of the step");
  return { ...event, output: meets ? told : event.output };
};

function apart(value: Json): { output: Json; before: Json[] } {
  if (!isJsonObject(value) || !Array.isArray(value["screening_findings"])) {
    return { output: value, before: [] };
  }
  const { screening_findings: before, ...output } = value;
  return { output, before: before as Json[] };
}

/** Findings stand beside the output's own keys. Where it is no object there is no place for them, and the log has them. */
function withFindings(output: Json, findings: Json[]): Json {
  if (!isJsonObject(output) || findings.length === 0) return output;
  return { ...output, screening_findings: findings };
}

/** What keeps a step's `output_schema` from being used, known before anything is paid for; null when nothing does. */
export function outputSchemaProblem(schemas: SchemaChecker, job: Job): Failure | null {
  const schema = job.input["output_schema"];
  if (!isJsonObject(schema)) return null;
  const compiled = schemas.compile(schema);
  if (typeof compiled === "string") return unusable(compiled);
  const [pattern] = compiled.unchecked;
  if (pattern === undefined) return null;
  const named = JSON.stringify(cutText(pattern, 100));
  return unusable(
    `pattern ${named} can't be matched in linear time: expected one without look-around and back references`,
  );
}

function unusable(why: string): Failure {
  return terminal("invalid_input", `the step's output_schema can't be used: ${why}`);
}

function check(schemas: SchemaChecker, output: Json, job: Job | null): StepEvent {
  const schema = job?.input["output_schema"];
  if (!isJsonObject(schema)) return { type: "output.valid", output };
  const violation = (data: Json) => findViolation(schemas, schema, data);
  if (job?.stepType === "llm") return structured(output, violation);
  const failure = violation(output);
  return failure === null ? { type: "output.valid", output } : invalid(failure);
}

/** A model's answer is text: the structured part is parsed from it, and may be sent back to be mended. */
function structured(output: Json, violation: (data: Json) => Failure | null): StepEvent {
  const response = isJsonObject(output) ? output["response"] : null;
  const text = typeof response === "string" ? response : "";
  let failure = terminal("invalid_output", "the answer is not JSON, as its schema asks");
  // What is wrong with the longest part that is JSON is what the model is told.
  let longest = -1;
  const tell = (found: Failure, candidate: string) => {
    if (candidate.length <= longest) return;
    failure = found;
    longest = candidate.length;
  };
  for (const candidate of isCut(output) ? wholeAnswer(text) : jsonCandidates(text)) {
    const read = parseJson(candidate, { maxDepth });
    if (!read.ok) {
      if (read.reason === "syntax") continue;
      tell(terminal("invalid_output", `the answer ${read.problem}`), candidate);
      continue;
    }
    const found = violation(read.value);
    if (found === null) {
      return { type: "output.valid", output: { ...(output as JsonObject), data: read.value } };
    }
    tell(found, candidate);
  }
  return invalid(failure, cutText(text, shownAnswerLength));
}

/** Whether the provider did not say that the answer is whole. What is complete in it is a part of what was meant. */
const isCut = (output: Json): boolean =>
  isJsonObject(output) && !["stop", null, undefined].includes(output["finish_reason"] as string);

function findViolation(schemas: SchemaChecker, schema: JsonObject, data: Json): Failure | null {
  const compiled = schemas.compile(schema);
  if (typeof compiled === "string") return unusable(compiled);
  const said = compiled.check(data);
  if (said.kind === "valid") return null;
  if (said.kind === "unusable") return unusable(said.problem);
  return terminal("invalid_output", `the output breaks its schema: ${said.problem}`);
}

/** @param answer - the model's own, to be shown to it again; without one nothing can be mended */
function invalid(failure: Failure, answer?: string): StepEvent {
  const isRepairable = answer !== undefined && failure.kind === "invalid_output";
  return {
    type: "output.invalid",
    failure,
    repairable: isRepairable,
    ...(isRepairable ? { answer } : {}),
  };
}

/** What JSON can't say, or says as something else: handlers are other people's code. */
function jsonProblem(value: unknown): string | null {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    const below: unknown[] = [];
    for (const item of level) {
      if (typeof item === "number" && !Number.isFinite(item)) return `holds the number ${item}`;
      if (typeof item === "bigint" || typeof item === "function" || typeof item === "symbol") {
        return `holds a ${typeof item}, which JSON does not have`;
      }
      if (typeof item !== "object" || item === null) continue;
      if (depth === maxDepth) return `is nested deeper than ${maxDepth} levels`;
      // Most of what an output holds is text, in which nothing is to be found.
      for (const part of Object.values(item)) if (typeof part !== "string") below.push(part);
    }
    level = below;
  }
  return null;
}
