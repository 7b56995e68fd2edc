import { XMLBuilder } from "fast-xml-parser";
import type { Comparison } from "../compare/compare.ts";
import type { GateResult } from "../compare/gate.ts";
import { counts } from "../compare/sample.ts";
import type { EvalReport, Trial } from "../contracts.ts";
import { whyFailed } from "./rows.ts";

/*
 * JUnit's XML as CI servers read it: a suite a category, a case a trial, its time in seconds. A broken trial is an error,
 * which is not the agent's; one that no scorer judged is skipped. A gate's verdict is a suite of its own.
 */

interface Case {
  "@name": string;
  "@classname": string;
  "@time": string;
  failure?: { "@message": string; "#text"?: string };
  error?: { "@message": string };
  skipped?: { "@message": string };
  "system-out"?: string;
}

const builder = new XMLBuilder({
  attributeNamePrefix: "@",
  ignoreAttributes: false,
  format: true,
  suppressEmptyNode: true,
});

/** XML 1.0 has no way to write these characters. */
const clean = (text: string): string =>
  text
    .toWellFormed()
    .replaceAll(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "\uFFFD");

export const reportJUnit = (report: EvalReport): string => document(report, categories(report));

export function gateJUnit(report: EvalReport, comparison: Comparison, result: GateResult): string {
  const verdict = suite("gate", report, [
    {
      "@name": clean(`${comparison.after.suite} beside ${comparison.before.id}`),
      "@classname": "gate",
      "@time": "0",
      ...(!result.passed && {
        failure: {
          "@message": clean(result.failures[0]?.message ?? "The gate failed."),
          "#text": clean(result.failures.map(({ message }) => message).join("\n")),
        },
      }),
      ...(result.warnings.length > 0 && {
        "system-out": clean(result.warnings.map(({ message }) => message).join("\n")),
      }),
    },
  ]);
  return document(report, [verdict, ...categories(report)]);
}

function document(report: EvalReport, suites: ReturnType<typeof suite>[]): string {
  const sum = (key: "@tests" | "@failures" | "@errors" | "@skipped") =>
    suites.reduce((total, each) => total + each[key], 0);
  return builder.build({
    "?xml": { "@version": "1.0", "@encoding": "UTF-8" },
    testsuites: {
      "@name": clean(`${report.suite}${report.mock ? " (MOCK)" : ""}`),
      "@tests": sum("@tests"),
      "@failures": sum("@failures"),
      "@errors": sum("@errors"),
      "@skipped": sum("@skipped"),
      testsuite: suites,
    },
  });
}

function categories(report: EvalReport): ReturnType<typeof suite>[] {
  const cases = new Map<string, Case[]>();
  for (const { id, category, trials } of report.tasks) {
    const known = cases.get(category) ?? [];
    cases.set(category, known);
    for (const trial of trials) known.push(caseOf(trial, id, category, report.epochs));
  }
  return [...cases].map(([category, of]) => suite(category, report, of));
}

function suite(name: string, { started_at }: EvalReport, testcase: Case[]) {
  return {
    "@name": clean(name),
    "@timestamp": clean(started_at),
    "@tests": testcase.length,
    "@failures": testcase.filter(({ failure }) => failure !== undefined).length,
    "@errors": testcase.filter(({ error }) => error !== undefined).length,
    "@skipped": testcase.filter(({ skipped }) => skipped !== undefined).length,
    "@time": seconds(testcase.reduce((total, each) => total + Number(each["@time"]), 0)),
    testcase,
  };
}

const seconds = (value: number) => value.toFixed(3);

function caseOf(trial: Trial, id: string, category: string, epochs: number): Case {
  const { status, passed, scores, observation, epoch } = trial;
  const base = {
    "@name": clean(epochs > 1 ? `${id} (trial ${epoch + 1})` : id),
    "@classname": clean(category),
    "@time": seconds((observation?.duration_ms ?? 0) / 1000),
  };
  if (status === "broken") return { ...base, error: { "@message": clean(whyFailed(trial)) } };
  if (!counts(trial)) return { ...base, skipped: { "@message": clean(whyFailed(trial)) } };
  if (passed && status === "scored") return base;
  const said = scores
    .filter((score) => score.skipped === undefined)
    .map(
      (score) =>
        `${score.passed ? "passed" : "failed"} ${score.scorer} ${score.score}: ${score.message}`,
    );
  return {
    ...base,
    failure: { "@message": clean(whyFailed(trial)), "#text": clean(said.join("\n")) },
  };
}
