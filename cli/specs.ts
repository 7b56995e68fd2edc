import { settingSources } from "./config/setting-sources.ts";
import type { SettingKey } from "./config/settings.ts";

export interface FlagSpec {
  type: "text" | "switch";
  /** What stands for its value in help. */
  value?: string;
  help: string;
}

export interface CommandSpec {
  /** Names of what is expected, in order; all are required. */
  args: readonly string[];
  summary: string;
  flags?: Readonly<Record<string, FlagSpec>>;
  /** Settings that may be given as flags, after the command's own. */
  settings: readonly SettingKey[];
  /** What a reader of the help should know beyond the flags. */
  notes?: readonly string[];
  example: readonly string[];
}

const client = ["controlPlaneUrl", "dataDir"] as const satisfies SettingKey[];
const store = ["redisUrl", "store", "dataDir"] as const satisfies SettingKey[];
const work = [
  ...store,
  "workerName",
  "concurrency",
  "drainMs",
  "mcpConfigPath",
  "defaultModel",
  "modelScript",
  "logLevel",
] as const satisfies SettingKey[];
const note: FlagSpec = { type: "text", value: "TEXT", help: "kept with the decision" };
const limit: FlagSpec = { type: "text", value: "N", help: "at most so many, 1 to 100 (20)" };

/** Every command: what it takes and how its help reads. What it does is in `commands/`. */
export const specs = {
  dev: {
    args: [],
    summary: "run everything on this machine: control plane, store and worker, in one process",
    settings: ["port", ...work],
    notes: [
      "Keeps its state in .stateplane/. Runs until Ctrl-C, which lets steps finish; a second one hands them back now.",
      "Other commands run in this folder find it by themselves.",
    ],
    example: ["stateplane dev --port 8080"],
  },
  worker: {
    args: [],
    summary: "take step jobs from a control plane's stream, and report each one once",
    flags: {
      processes: {
        type: "text",
        value: "N",
        help: "so many of them, supervised and drained as one",
      },
    },
    settings: ["controlPlaneUrl", ...work],
    notes: [
      "Needs REDIS_URL (or --store), CONTROL_PLANE_URL and FD_API_KEY.",
      "SIGTERM and SIGINT let steps finish for WORKER_DRAIN_MS and hand back the rest; a second signal hands back now.",
    ],
    example: [
      "REDIS_URL=redis://localhost:6379 CONTROL_PLANE_URL=http://localhost:8080 \\",
      "  FD_API_KEY=fd_dev_key_abc123 stateplane worker --concurrency 8",
    ],
  },
  submit: {
    args: ["AGENT"],
    summary: "start a run of an agent",
    flags: {
      task: { type: "text", value: "TEXT", help: "what the agent is to do" },
      input: { type: "text", value: "JSON", help: "the run's whole input" },
      file: {
        type: "text",
        value: "FILE",
        help: "the input from a JSON or YAML file; - for stdin",
      },
      steps: {
        type: "text",
        value: "FILE",
        help: "the steps of the run, where the control plane takes them: JSON or YAML; - for stdin",
      },
      watch: { type: "switch", help: "follow the run; exit 1 if it does not complete" },
    },
    settings: [...client],
    example: ['stateplane submit assistant --task "Summarise the README" --watch'],
  },
  "runs list": {
    args: [],
    summary: "the newest runs",
    flags: {
      status: { type: "text", value: "STATUS", help: "only these, among the 100 newest" },
      limit,
    },
    settings: [...client, "projectId"],
    example: ["stateplane runs list --status waiting_approval"],
  },
  "runs get": {
    args: ["RUN"],
    summary: "one run and its steps",
    settings: [...client],
    example: ["stateplane runs get run_01JFVX0000000000000000000A --json"],
  },
  "runs watch": {
    args: ["RUN"],
    summary: "follow a run until it ends; exit 1 if it does not complete",
    settings: [...client],
    example: ["stateplane runs watch run_01JFVX0000000000000000000A"],
  },
  "runs cancel": {
    args: ["RUN"],
    summary: "call a run off",
    settings: [...client],
    example: ["stateplane runs cancel run_01JFVX0000000000000000000A"],
  },
  "agents list": {
    args: [],
    summary: "the agents that can be asked for a run",
    settings: [...client, "projectId"],
    example: ["stateplane agents list --json"],
  },
  "approvals list": {
    args: [],
    summary: "the actions that wait for a person",
    flags: { limit },
    settings: [...client],
    example: ["stateplane approvals list"],
  },
  "approvals approve": {
    args: ["APPROVAL"],
    summary: "let the action happen, once",
    flags: { note },
    settings: [...client],
    example: ["stateplane approvals approve apr_01JFVX0000000000000000000A --note checked"],
  },
  "approvals reject": {
    args: ["APPROVAL"],
    summary: "refuse the action",
    flags: { note },
    settings: [...client],
    example: ['stateplane approvals reject apr_01JFVX0000000000000000000A --note "wrong branch"'],
  },
  "dlq list": {
    args: [],
    summary: "the jobs that no retry will mend",
    flags: { limit },
    settings: [...store],
    example: ["stateplane dlq list"],
  },
  "dlq show": {
    args: ["LETTER"],
    summary: "one dead letter: its job, path, snapshot and reason",
    settings: [...store],
    example: ["stateplane dlq show 1737900000000-0"],
  },
  "dlq retry": {
    args: ["LETTER"],
    summary: "put the job back on the stream",
    settings: [...store],
    example: ["stateplane dlq retry 1737900000000-0"],
  },
  "dlq drop": {
    args: ["LETTER"],
    summary: "throw the letter away",
    settings: [...store],
    example: ["stateplane dlq drop 1737900000000-0"],
  },
  chart: {
    args: [],
    summary: "what may happen to a step: the machine's states and arrows",
    flags: { machine: { type: "text", value: "NAME", help: "step or supervisor (step)" } },
    settings: [],
    notes: ["With --json the machine's definition, which Stately's tools read."],
    example: ["stateplane chart", "stateplane chart --machine supervisor --json"],
  },
  config: {
    args: [],
    summary: "every setting, its value (secrets masked) and where it came from",
    settings: (Object.keys(settingSources) as SettingKey[]).filter(
      (key) => settingSources[key].flag !== undefined,
    ),
    example: ["stateplane config --json"],
  },
  doctor: {
    args: [],
    summary: "what is here, what is missing, and how to get it; exit 1 if something required is",
    settings: [...store, "controlPlaneUrl", "mcpConfigPath"],
    example: ["stateplane doctor"],
  },
} as const satisfies Record<string, CommandSpec>;

export type CommandName = keyof typeof specs;
