import { type } from "arktype";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { readRecording, type StepRecording } from "../../machines/contracts/domain/recording.ts";
import { redactText } from "../../machines/contracts/domain/screening/secrets.ts";
import { isSecretKey } from "../../machines/contracts/domain/secret-names.ts";
import type { RunView } from "../../machines/contracts/wire/views.ts";
import type { ObservedCall } from "../contracts.ts";

/** A run as it happened: what was asked, and each step's recording. It stands in a file beside its dataset. */
export interface RunRecording {
  format: "stateplane-run-recording/1";
  run: {
    id: string;
    agent: string | null;
    agent_version: string | null;
    input: JsonObject;
    output: Json;
    status: string;
  };
  steps: StepRecording[];
  /** Steps of the run that nothing was recorded of. */
  missing: string[];
  /** How many texts were changed because they hold what looks like a secret; their inputs compare as different. */
  redacted: number;
}

const shape = type({
  format: "'stateplane-run-recording/1'",
  run: {
    id: "string",
    agent: "string | null",
    agent_version: "string | null",
    input: type("object").narrow(isJsonObject),
    output: "unknown",
    status: "string",
  },
  steps: "unknown[]",
  missing: "string[]",
  redacted: "number.integer >= 0",
});

/** Reads a file's content; a sentence says where and what is wrong. */
export function readRunRecording(given: unknown): RunRecording | string {
  const read = shape(given);
  if (read instanceof type.errors) return read.summary.replaceAll("\n", "; ");
  const steps: StepRecording[] = [];
  for (const [at, step] of read.steps.entries()) {
    const recording = readRecording(step);
    if (typeof recording === "string") return `steps[${at}].${recording}`;
    steps.push(recording);
  }
  return { ...read, steps } as RunRecording;
}

/** Makes the recording of a run, with what looks like a secret taken out of every text. */
export function recordRun(
  run: RunView,
  steps: readonly StepRecording[],
  missing: readonly string[],
): RunRecording {
  let redacted = 0;
  const clean = <T>(value: T): T => cleaned(value as Json, () => (redacted += 1)) as unknown as T;
  const { id, agent_id: agent = null, agent_version_id: version = null, status } = run;
  const input = isJsonObject(run.input) ? run.input : {};
  const recorded = { id, agent, agent_version: version, status };
  const whole = {
    format: "stateplane-run-recording/1" as const,
    run: { ...recorded, input: clean(input), output: clean((run.output ?? null) as Json) },
    steps: steps.map((step) => clean(step)),
    missing: [...missing],
  };
  return { ...whole, redacted };
}

/** Whole, however long: what is cut can't be replayed. */
function cleaned(value: Json, onChange: () => void): Json {
  if (typeof value === "string") {
    const safe = redactText(value);
    if (safe !== value) onChange();
    return safe;
  }
  if (Array.isArray(value)) return value.map((item) => cleaned(item, onChange));
  if (!isJsonObject(value)) return value;
  const entries = Object.entries(value).map(([key, item]): [string, Json] => {
    if (typeof item !== "string" || !isSecretKey(key) || item === "") {
      return [key, cleaned(item, onChange)];
    }
    onChange();
    return [key, "[redacted]"];
  });
  return Object.fromEntries(entries);
}

/** A line of a dataset that asks for what a run was asked for, and expects what happened where that is wanted. */
export function taskOfRun(
  { run }: RunRecording,
  recordingFile: string,
  expects: { calls?: readonly ObservedCall[] } | null,
): JsonObject {
  const task = run.input["task"];
  const made = (expects?.calls ?? []).filter(({ outcome }) => outcome !== "refused");
  const expected: JsonObject =
    expects === null
      ? {}
      : {
          tools: made.map(({ tool }) => tool),
          ...(made.length === 0 ? {} : { tool_calls: made.map(toWanted) }),
          reference: run.output,
        };
  return {
    id: run.id,
    name: `Run ${run.id}`,
    description: typeof task === "string" ? task : `What run ${run.id} was asked for`,
    input: run.input,
    expected,
    category: "recorded",
    tags: ["from-run"],
    config: { recording: recordingFile },
  };
}

/** Exactly these arguments: a list or an object would else be read as a rule. */
const toWanted = ({ tool, arguments: given }: ObservedCall): JsonObject => ({
  tool,
  arguments: isJsonObject(given)
    ? Object.fromEntries(Object.entries(given).map(([key, value]) => [key, { value }]))
    : {},
});
