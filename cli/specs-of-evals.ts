import type { SettingKey } from "./config/settings.ts";
import { replayFlags } from "./specs-of-steps.ts";
import type { CommandSpec } from "./specs.ts";

export const evalGroups: Readonly<Record<string, string>> = {
  eval: "run suites of tasks, and compare, gate, report and replay what came of them",
};

const format = { type: "text", value: "name", short: "f" } as const;
const allow = {
  type: "text",
  value: "locks",
  help: "compare though these locks differ, such as dataset,suite",
} as const;
const output = { type: "text", value: "file", short: "o" } as const;

/** The commands of evals; `work` are the settings of whoever starts a worker. */
export const evalSpecs = (work: readonly SettingKey[]) =>
  ({
    "eval run": {
      args: ["suite?"],
      summary: "run a suite of tasks and score what happened; exit 1 if a trial failed",
      flags: {
        suite: {
          type: "text",
          value: "name",
          short: "s",
          help: "the suite, by its name in evals/suites or its file; the same as the argument",
        },
        dataset: {
          type: "text",
          value: "path",
          help: "run the tasks of this file or folder in place of the suite's",
        },
        agent: {
          type: "text",
          value: "slug",
          short: "a",
          help: "the agent to run, in place of the suite's",
        },
        output: { ...output, help: "write the report here (default evals/reports/SUITE.json)" },
        "max-tasks": { type: "text", value: "n", short: "n", help: "run the first n tasks" },
        runs: { type: "text", value: "n", short: "r", help: "run every task n times" },
        parallel: { type: "text", value: "n", short: "p", help: "run n trials at a time" },
        timeout: {
          type: "text",
          value: "ms",
          short: "t",
          help: "cancel a trial that takes longer, in milliseconds",
        },
        category: { type: "text", value: "name", help: "only tasks of this category" },
        tag: { type: "text", value: "name", help: "only tasks with this tag" },
        difficulty: { type: "text", value: "name", help: "only tasks of this difficulty" },
        id: { type: "text", value: "ids", help: "only these tasks, separated by commas" },
        "max-cost": {
          type: "text",
          value: "dollars",
          help: "start no trial once the trials have cost so much",
        },
        "max-time": {
          type: "text",
          value: "seconds",
          help: "stop when the whole eval has taken so long",
        },
        "skip-bad": { type: "switch", help: "pass over lines of a dataset that can't be read" },
        cache: { type: "switch", help: "take answers of the same trial from an earlier eval" },
        fresh: { type: "switch", help: "start again, even where an eval was interrupted" },
        mock: {
          type: "switch",
          help: "make every answer up, to try a suite out; says nothing about an agent",
        },
        verbose: { type: "switch", short: "v", help: "print every score of every trial" },
      },
      settings: ["controlPlaneUrl", ...work, "projectId"],
      notes: [
        "Each trial is a real run: a control plane, a store and a worker are started for the eval, or the control plane that --control-plane names is used. An eval that was killed goes on where it stood when the same command is given again.",
      ],
      example: ["stateplane eval run safe-pr", "stateplane eval run regression --runs 3 --json"],
    },
    "eval list": {
      args: ["suite?"],
      summary: "list the suites, or the tasks of one",
      flags: {
        "skip-bad": { type: "switch", help: "pass over lines of a dataset that can't be read" },
      },
      settings: [],
      example: ["stateplane eval list", "stateplane eval list safe-pr"],
    },
    "eval compare": {
      args: ["before", "after"],
      summary: "compare two reports, task by task; exit 1 if the second is worse",
      flags: {
        format: { ...format, help: "text, json or markdown (default text)" },
        output: { ...output, help: "write the comparison to this file" },
        allow,
        "fail-on-regression": {
          type: "switch",
          help: "exit 1 if the second is worse: the default",
        },
        "report-only": { type: "switch", help: "exit 0 whatever the comparison says" },
      },
      settings: [],
      notes: [
        "Either may be a committed baseline. Worse is what is no chance, and large enough to matter: docs/evals-gate.md says what each number means.",
      ],
      example: ["stateplane eval compare before.json after.json"],
    },
    "eval gate": {
      args: ["report?"],
      summary: "hold a report to a committed baseline; exit 1 if it must not pass",
      flags: {
        baseline: {
          type: "text",
          value: "file",
          help: "the baseline, or another report (default evals/baselines/SUITE.jsonl)",
        },
        "update-baseline": {
          type: "switch",
          help: "make this report the baseline, and show what changes by it",
        },
        format: { ...format, help: "text, json, markdown or junit (default text)" },
        output: { ...output, help: "write the verdict to this file" },
        allow,
      },
      settings: [],
      notes: ["Without a report it takes the newest one in evals/reports."],
      example: [
        "stateplane eval gate evals/reports/regression.json",
        "stateplane eval gate evals/reports/regression.json --update-baseline",
      ],
    },
    "eval report": {
      args: ["report"],
      summary: "show a report, or make a page of it",
      flags: {
        format: { ...format, help: "text, json, markdown, junit or html (default text)" },
        output: { ...output, help: "write it to this file" },
        baseline: { type: "text", value: "file", help: "compare it with this baseline or report" },
      },
      settings: [],
      example: [
        "stateplane eval report evals/reports/regression.json",
        "stateplane eval report evals/reports/regression.json --format html --output report.html",
      ],
    },
    "eval from-run": {
      args: ["run"],
      summary: "make a task of a dataset from a run",
      flags: {
        out: {
          type: "text",
          value: "file",
          help: "append the task to this JSONL file (default tasks.jsonl)",
        },
        expect: {
          type: "switch",
          help: "expect what happened: its tools, their arguments, and its output as reference",
        },
      },
      settings: ["controlPlaneUrl", "redisUrl", "store", "dataDir"],
      notes: [
        "The recorded effects go to recordings/RUN.json beside the dataset, with what looks like a secret taken out. They are there where the run's worker had WORKER_KEEP_JOURNALS=on, as `dev` has.",
      ],
      example: [
        "stateplane eval from-run run_01JFVX0000000000000000000A --out evals/recorded/tasks.jsonl --expect",
      ],
    },
    "eval replay": {
      args: ["recording"],
      summary:
        "walk recorded runs once more, of one recording or of a dataset, and say what differed",
      flags: {
        ...replayFlags,
        mode: {
          type: "text",
          value: "mode",
          help: "simulation: ask models again and serve tools; full: do all of it anew (with --live)",
        },
      },
      settings: ["dataDir", "mcpConfigPath", "modelScript"],
      notes: [
        "Every step is replayed by itself, with the input that it had then: as `steps replay` does it, with the same flags.",
        "Exit code 1: a step came out otherwise than recorded; with a change: something was refused, or a step did not come to its end.",
      ],
      example: [
        "stateplane eval replay evals/recorded/tasks.jsonl",
        "stateplane eval replay recordings/run_01JFVX0000000000000000000A.json --model openai/gpt-4.1-mini",
      ],
    },
    "eval judge": {
      args: ["calibrate", "labels"],
      summary: "hold a model that judges to people's labels",
      flags: {
        judge: {
          type: "text",
          value: "file",
          help: "the judge, as a suite's `scorers` have it: YAML or JSON",
        },
        parallel: {
          type: "text",
          value: "n",
          short: "p",
          help: "judge n pieces at a time (default 4)",
        },
      },
      settings: ["modelScript", "dataDir"],
      notes: [
        "Each line of the labels is a piece of work: `output` or `diff`, with `task`, and `label`: true or false, as a person judged it. Lines without a label are judged too, and their pass rate is corrected by the errors that the others show.",
        "Exit code 1: the labels do not show that the judge is better than chance, or it gave no judgement of some work.",
      ],
      example: ["stateplane eval judge calibrate labels.jsonl --judge judge.yaml"],
    },
  }) satisfies Record<string, CommandSpec>;
