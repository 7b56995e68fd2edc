import { isDeepStrictEqual } from "node:util";
import { type } from "arktype";
import { RE2JS } from "re2js";
import { isJsonObject, type Json, parseJson } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { EvalTask, Observation, ScoreGiven, Scorer } from "../contracts.ts";
import { judgeOne, meanOf, unusableIn } from "./judging.ts";
import { textsOf } from "./files.ts";
import type { ScorerType } from "./registry.ts";

/**
 * What an output says, in the forms that may be meant: itself, and of a step that asked a model its structured answer,
 * or the text of its answer, as JSON where it is that.
 */
export function answersIn(output: Json): Json[] {
  const inner = isJsonObject(output) ? [output["data"], output["response"]] : [];
  const forms = [...inner.filter((form) => form !== undefined && form !== null), output];
  return forms.flatMap((form) => {
    const read = typeof form === "string" ? parseJson(form) : null;
    return read?.ok === true ? [read.value, form] : [form];
  });
}

/** Whether everything that is expected is there; an object may have more, a list may not. */
function holds(found: Json | undefined, expected: Json): boolean {
  if (isJsonObject(expected) && isJsonObject(found))
    return Object.entries(expected).every(([key, item]) => holds(found[key], item));
  if (Array.isArray(expected) && Array.isArray(found))
    return expected.length === found.length && expected.every((item, at) => holds(found[at], item));
  return isDeepStrictEqual(found, expected);
}

/** The text that a person would read as the answer. */
export function textOf(output: Json): string {
  const said = isJsonObject(output) ? output["response"] : output;
  return typeof said === "string" ? said : JSON.stringify(said ?? output);
}

const shownLength = 200;
const quoted = (value: Json) => cutText(JSON.stringify(value), shownLength);

/** Each thing that a task says of the output, and whether it is so. */
function outputChecks({ expected }: EvalTask, output: Json): { is: boolean; say: string }[] {
  const checks: { is: boolean; say: string }[] = [];
  const whole = expected["output"] ?? expected["expected_output"];
  if (whole !== undefined) {
    const is = answersIn(output).some((answer) => holds(answer, whole));
    checks.push({ is, say: `the output is ${quoted(whole)}` });
  }
  const text = textOf(output);
  for (const key of ["output_contains", "output_matches"]) {
    const given = expected[key] ?? null;
    if (given !== null && textsOf(given) === null)
      checks.push({ is: false, say: `expected.${key} is a text or a list of texts` });
  }
  for (const part of textsOf(expected["output_contains"]) ?? [])
    checks.push({ is: text.includes(part), say: `the output has ${quoted(part)} in it` });
  for (const part of textsOf(expected["output_excludes"]) ?? [])
    checks.push({
      is: !JSON.stringify(output).includes(JSON.stringify(part).slice(1, -1)),
      say: `the output has ${quoted(part)} nowhere in it`,
    });
  for (const pattern of textsOf(expected["output_matches"]) ?? [])
    checks.push({
      is: RE2JS.compile(pattern).matcher(text).find(),
      say: `the output matches ${quoted(pattern)}`,
    });
  return checks;
}

const outputKeys = [
  "output",
  "expected_output",
  "output_contains",
  "output_excludes",
  "output_matches",
];
const nothing = type({});

/**
 * Holds an observation to everything that the task expects and one of the parts can judge: the output itself, files, a
 * pull request, tests. Each counts the same.
 */
export const outputMatch = (parts: readonly string[]): ScorerType & { shape: typeof nothing } => ({
  shape: nothing,
  make(_parameters, context, registry) {
    const made = parts.flatMap((name) => {
      const scorer = registry[name]?.make({} as never, context, registry);
      return scorer === undefined || typeof scorer === "string" ? [] : [scorer];
    });
    const saysOutput = ({ expected }: EvalTask) =>
      outputKeys.some((key) => expected[key] !== undefined);
    return {
      name: "expected_output_match",
      reads: [...outputKeys, ...made.flatMap(({ reads }) => reads)],
      applies: (task) =>
        saysOutput(task) ||
        made.some((scorer) => scorer.applies?.(task) === true || unusableIn(scorer, task) !== null),
      score: (task, seen, signal) => judgeAll(made, task, seen, signal),
    };
  },
});

async function judgeAll(
  parts: readonly Scorer[],
  task: EvalTask,
  seen: Observation,
  signal: AbortSignal,
): Promise<ScoreGiven> {
  const checks = outputChecks(task, seen.output).map(({ is, say }) => {
    return {
      score: is ? 1 : 0,
      weight: 1,
      passed: is,
      message: is ? `${say}.` : `Expected, and not so: ${say}.`,
    };
  });
  for (const scorer of parts) {
    if (scorer.applies?.(task) !== true && unusableIn(scorer, task) === null) continue;
    const { skipped: _skipped, ...given } = await judgeOne(scorer, task, seen, signal);
    checks.push({ ...given, weight: 1, message: `${scorer.name}: ${given.message}` });
  }
  const failed = checks.filter(({ passed }) => !passed);
  return {
    score: meanOf(checks) ?? 0,
    passed: failed.length === 0,
    message:
      failed.length === 0
        ? `All ${checks.length} expectations are met.`
        : failed.map(({ message }) => message).join(" "),
    details: { checks: checks.map(({ score, passed, message }) => ({ score, passed, message })) },
  };
}

const schemaShape = type({ "schema?": "object" });

export const schemaValid: ScorerType<typeof schemaShape.infer> = {
  shape: schemaShape,
  make({ schema }, { schemas }) {
    const given = schema as Json | undefined;
    if (given !== undefined) {
      const compiled = isJsonObject(given) ? schemas.compile(given) : "expected a JSON Schema";
      if (typeof compiled === "string") return `schema: ${compiled}`;
    }
    const schemaOf = ({ expected }: EvalTask) => expected["output_schema"] ?? given;
    return {
      name: "schema_valid",
      reads: ["output_schema"],
      applies: (task) => schemaOf(task) !== undefined,
      score(task, { output }) {
        const wanted = schemaOf(task) ?? null;
        const compiled = isJsonObject(wanted) ? schemas.compile(wanted) : "expected a JSON Schema";
        if (typeof compiled === "string")
          return { score: 0, passed: false, message: `The schema can't be used: ${compiled}` };
        const verdicts = answersIn(output).map((answer) => compiled.check(answer));
        if (verdicts.some(({ kind }) => kind === "valid"))
          return { score: 1, passed: true, message: "The output fits its schema." };
        const [first] = verdicts;
        const why = first === undefined || first.kind === "valid" ? "" : `: ${first.problem}`;
        return { score: 0, passed: false, message: `The output does not fit its schema${why}` };
      },
    };
  },
};

const structureShape = type({ "keys?": "string[] >= 1" });

export const outputStructure: ScorerType<typeof structureShape.infer> = {
  shape: structureShape,
  make({ keys }) {
    const keysOf = ({ expected }: EvalTask) => textsOf(expected["required_output_keys"]) ?? keys;
    return {
      name: "output_structure",
      reads: ["required_output_keys"],
      applies: (task) => keysOf(task) !== undefined,
      score(task, { output }) {
        const wanted = keysOf(task) ?? [];
        const missing = answersIn(output)
          .map((answer) => wanted.filter((key) => !hasKey(answer, key)))
          .reduce((least, one) => (one.length < least.length ? one : least));
        const score = wanted.length === 0 ? 1 : 1 - missing.length / wanted.length;
        const passed = missing.length === 0;
        const message = passed
          ? "The output has every key that it must have."
          : `The output lacks ${missing.join(", ")}.`;
        return { score, passed, message, details: { missing } };
      },
    };
  },
};

/** `a.b`: the key b of the object a. */
function hasKey(value: Json, path: string): boolean {
  let at: Json | undefined = value;
  for (const key of path.split(".")) {
    at = isJsonObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
    if (at === undefined) return false;
  }
  return true;
}
