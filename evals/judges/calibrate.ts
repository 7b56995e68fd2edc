import { type } from "arktype";
import {
  isJsonObject,
  type Json,
  type JsonObject,
  parseJson,
} from "../../machines/contracts/domain/json.ts";
import type { EvalTask, Observation, ScoreGiven, Scorer } from "../contracts.ts";
import { judgeOne } from "../scorers/judging.ts";
import {
  type Agreement,
  agreementOf,
  type Confusion,
  correctedPassRate,
  type Corrected,
} from "../statistics/agreement.ts";

/** One piece of work that a person has judged, or that is only to be judged. */
export interface LabelledWork {
  id: string;
  /** Null where nobody has. */
  label: boolean | null;
  task: EvalTask;
  seen: Observation;
}

const lineShape = type({
  "id?": "string",
  "label?": "boolean | 'pass' | 'fail' | null",
  "task?": "string",
  "description?": "string",
  "input?": "object",
  "expected?": "object",
  "output?": "unknown",
  "diff?": "string",
});

/** Reads JSONL of labels, strictly; a text names the line and what is wrong there. */
export function readLabels(text: string, file: string): LabelledWork[] | string {
  const works: LabelledWork[] = [];
  for (const [at, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const read = parseJson(line);
    if (!read.ok) return `${file}:${at + 1}: ${read.problem}`;
    const fields = lineShape(read.value);
    if (fields instanceof type.errors)
      return `${file}:${at + 1}: ${fields.summary.replaceAll("\n", "; ")}`;
    const { id = String(at + 1), label = null, output = null, diff } = fields;
    if (output === null && diff === undefined) {
      return `${file}:${at + 1}: expected \`output\` or \`diff\`, the work that is judged`;
    }
    works.push({
      id,
      label: label === null ? null : label === true || label === "pass",
      task: taskOf(fields, id, { file, line: at + 1 }),
      seen: seenOf(output as Json, diff),
    });
  }
  return works;
}

function taskOf(fields: typeof lineShape.infer, id: string, from: EvalTask["from"]): EvalTask {
  const { description = fields.task ?? "", input = {}, expected = {} } = fields;
  return {
    id,
    name: id,
    description,
    input: (isJsonObject(input) ? input : {}) as JsonObject,
    expected: (isJsonObject(expected) ? expected : {}) as JsonObject,
    difficulty: "medium",
    category: "general",
    tags: [],
    config: {},
    from,
  };
}

const seenOf = (output: Json, diff: string | undefined): Observation => ({
  run_status: "completed",
  output,
  ...(diff === undefined ? {} : { diff }),
  usage: { input_tokens: null, output_tokens: null, tool_calls: null, cost_microusd: null },
  duration_ms: 0,
});

/** What came of holding a judge to people's labels. */
export interface Calibration {
  judge: string;
  lock: string | null;
  labelled: number;
  counted: Confusion;
  agreement: Agreement;
  /** The pass rate of the work that nobody labelled, with the judge's errors taken out; null where it can't be told. */
  corrected: Corrected | null;
  unlabelled: number;
  /** Work of which the judge gave no judgement, with why; it counts for nothing. */
  broken: { id: string; why: string }[];
  /** Where the judge and the person differ, for a reader to look at. */
  disagreements: { id: string; person: "pass" | "fail"; judge: "pass" | "fail"; message: string }[];
}

/** Has a judge judge everything, several pieces at a time, and counts. */
export async function calibrate(
  scorer: Scorer,
  works: readonly LabelledWork[],
  {
    parallel,
    signal,
    onJudged,
  }: { parallel: number; signal: AbortSignal; onJudged?(done: number): void },
): Promise<Calibration> {
  const given: [LabelledWork, ScoreGiven][] = [];
  let next = 0;
  const judgeInTurn = async () => {
    for (let at = next++; at < works.length; at = next++) {
      signal.throwIfAborted();
      const work = works[at] as LabelledWork;
      given[at] = [work, await judgeOne(scorer, work.task, work.seen, signal)];
      onJudged?.(given.filter(() => true).length);
    }
  };
  await Promise.all(Array.from({ length: parallel }, judgeInTurn));
  const isBroken = ({ skipped }: ScoreGiven) => skipped !== undefined;
  const judged = given.filter(([, score]) => !isBroken(score));
  const count = (label: boolean, passed: boolean) =>
    judged.filter(([work, score]) => work.label === label && score.passed === passed).length;
  const counted: Confusion = {
    truePositives: count(true, true),
    falsePositives: count(false, true),
    trueNegatives: count(false, false),
    falseNegatives: count(true, false),
  };
  const free = judged.filter(([work]) => work.label === null);
  const passed = free.filter(([, score]) => score.passed).length;
  const word = (isPass: boolean) => (isPass ? "pass" : "fail");
  return {
    judge: scorer.name,
    lock: scorer.lock ?? null,
    labelled: judged.length - free.length,
    counted,
    agreement: agreementOf(counted),
    corrected: correctedPassRate(counted, passed, free.length),
    unlabelled: free.length,
    broken: given.flatMap(([{ id }, score]) =>
      isBroken(score) ? [{ id, why: score.skipped ?? "" }] : [],
    ),
    disagreements: judged.flatMap(([{ id, label }, score]) =>
      label === null || label === score.passed
        ? []
        : [{ id, person: word(label), judge: word(score.passed), message: score.message }],
    ),
  } as Calibration;
}
