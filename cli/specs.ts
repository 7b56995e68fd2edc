import { settingSources } from "./config/setting-sources.ts";
import { evalGroups, evalSpecs } from "./specs-of-evals.ts";
import { approvalSpecs } from "./specs-of-approvals.ts";
import { planeGroups, planeSpecs } from "./specs-of-plane.ts";
import { machineSpecs } from "./specs-of-machines.ts";
import { retrievalSpecs } from "./specs-of-retrieval.ts";
import { workflowSpecs } from "./specs-of-workflows.ts";
import { stepSpecs } from "./specs-of-steps.ts";
import type { SettingKey } from "./config/settings.ts";

export interface FlagSpec {
  type: "text" | "switch";
  /** What stands for its value in help: `file`, `n`. */
  value?: string;
  /** One letter for the same. */
  short?: string;
  help: string;
}

export interface CommandSpec {
  /** Names of the arguments, in order; one that ends in `?` may be left out. */
  args: readonly string[];
  summary: string;
  flags?: Readonly<Record<string, FlagSpec>>;
  /** Another second word for the same: `runs show` for `runs get`. */
  alias?: string;
  /** Settings that may be given as flags, after the command's own. */
  settings: readonly SettingKey[];
  /** Whether it hands on what it is given, options and all, to a program that reads them itself. */
  passesOn?: true;
  /** What a reader of the help should know beyond the flags; a paragraph each. */
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
const inspected = [...work, "inspectPort"] as const satisfies SettingKey[];
const tools = ["mcpConfigPath", ...store] as const satisfies SettingKey[];
const limit: FlagSpec = {
  type: "text",
  value: "n",
  help: "at most n, from 1 to 100 (default 20)",
};

/** Commands of two words, by the first: what such a group is about. */
export const groups: Readonly<Record<string, string>> = {
  runs: "list, get, watch, trace and cancel runs",
  steps: "show what the store keeps of a step, and replay one",
  agents: "list the agents",
  approvals: "list, approve and reject actions that wait for a person",
  tools: "list, show, call, diff and accept the tools of MCP servers",
  mcp: "run the MCP servers that come with the program",
  dlq: "list, show, retry and drop dead letters",
  retrieval: "ingest files into collections, and search them",
  workflow: "validate, graph, run and watch workflows",
  machine: "list, show and export the state machines that run here",
  ...evalGroups,
  ...planeGroups,
};

/** Every command: what it takes and how its help reads. What it does is in `commands/`. */
export const specs = {
  init: {
    args: ["folder?"],
    summary: "write a project of your own: an agent, a tool, a policy and a test",
    settings: [],
    notes: ["Overwrites nothing. Without a folder it writes to this one."],
    example: ["stateplane init my-agent"],
  },
  dev: {
    args: [],
    summary: "run the control plane, the store and a worker in one process",
    flags: {
      watch: {
        type: "switch",
        help: "start again when the configuration or a file that it imports changes",
      },
      inspect: {
        type: "switch",
        help: "serve a page that shows the machines at work, live",
      },
    },
    settings: ["port", ...inspected],
    notes: [
      "State is kept in .stateplane/. The first Ctrl-C lets steps finish; the second releases them at once. Other commands that run in the same folder find it by themselves.",
    ],
    example: ["stateplane dev --port 8080"],
  },
  worker: {
    args: [],
    summary: "take step jobs from a control plane's stream and report each one once",
    flags: {
      processes: {
        type: "text",
        value: "n",
        help: "run n worker processes, from 1 to 64, supervised as one (default 1)",
      },
      inspect: {
        type: "switch",
        help: "serve a page that shows the machines at work, live",
      },
    },
    settings: ["controlPlaneUrl", ...inspected],
    notes: [
      "Needs REDIS_URL (or --store), CONTROL_PLANE_URL and FD_API_KEY. Its log goes to standard error. While the control plane can't be reached, it waits and takes no jobs.",
      "SIGTERM, SIGINT and SIGHUP let steps finish for WORKER_DRAIN_MS and then release the rest; a second signal releases them at once and ends the process within three seconds.",
    ],
    example: [
      "REDIS_URL=redis://localhost:6379 CONTROL_PLANE_URL=http://localhost:8080 FD_API_KEY=fd_dev_key_abc123 stateplane worker --concurrency 8",
    ],
  },
  submit: {
    args: ["agent"],
    summary: "start a run of an agent",
    flags: {
      task: { type: "text", value: "text", help: "what the agent should do" },
      input: { type: "text", value: "json", help: "the whole input of the run" },
      file: {
        type: "text",
        value: "file",
        help: "read the input from a JSON or YAML file; - is standard input",
      },
      steps: {
        type: "text",
        value: "file",
        help: "read the steps of the run from a JSON or YAML file, if the control plane accepts planned steps; - is standard input",
      },
      watch: { type: "switch", help: "follow the run; exit 1 if it does not complete" },
    },
    settings: [...client],
    example: ['stateplane submit assistant --task "Summarise the README" --watch'],
  },
  "runs list": {
    args: [],
    summary: "list the newest runs",
    flags: {
      status: {
        type: "text",
        value: "status",
        help: "only runs with this status, among the 100 newest",
      },
      limit,
    },
    settings: [...client, "projectId"],
    example: ["stateplane runs list --status waiting_approval"],
  },
  "runs get": {
    args: ["run"],
    alias: "show",
    summary: "show one run and its steps",
    settings: [...client],
    example: ["stateplane runs get run_01JFVX0000000000000000000A --json"],
  },
  "runs watch": {
    args: ["run"],
    summary: "follow a run until it ends; exit 1 if it does not complete",
    settings: [...client],
    example: ["stateplane runs watch run_01JFVX0000000000000000000A"],
  },
  "runs trace": {
    args: ["run"],
    summary:
      "show what a run did, as a tree: what each step touched, how long it took, what it cost",
    settings: [...client],
    example: ["stateplane runs trace run_01JFVX0000000000000000000A"],
  },
  "runs cancel": {
    args: ["run"],
    summary: "cancel a run",
    settings: [...client],
    example: ["stateplane runs cancel run_01JFVX0000000000000000000A"],
  },
  ...stepSpecs(store),
  "agents list": {
    args: [],
    summary: "list the agents that a run can be submitted to",
    settings: [...client, "projectId"],
    example: ["stateplane agents list --json"],
  },
  ...approvalSpecs,
  ...planeSpecs,
  "dlq list": {
    args: [],
    summary: "list the dead letters: jobs that were given up, and why",
    flags: { limit },
    settings: [...store],
    example: ["stateplane dlq list"],
  },
  "dlq show": {
    args: ["letter"],
    alias: "get",
    summary: "show one dead letter: its job, states, snapshot, journal and cause",
    settings: [...store],
    example: ["stateplane dlq show 1737900000000-0"],
  },
  "dlq retry": {
    args: ["letter"],
    summary: "put the job back on the stream",
    settings: [...store],
    example: ["stateplane dlq retry 1737900000000-0"],
  },
  "dlq drop": {
    args: ["letter"],
    summary: "delete a dead letter",
    settings: [...store],
    example: ["stateplane dlq drop 1737900000000-0"],
  },
  ...workflowSpecs(work),
  ...evalSpecs(work),
  ...retrievalSpecs,
  "tools list": {
    args: ["server?"],
    summary: "list the tools of the MCP servers, and what the lists say of each",
    settings: [...tools],
    notes: [
      "! marks a tool whose texts should be read: they hold hidden characters, or words that give a model orders. Exit 3 when a server does not answer.",
    ],
    example: ["stateplane tools list --mcp mcp.json"],
  },
  "tools show": {
    args: ["tool"],
    summary: "show one tool: its texts, its schemas and what the lists say of it",
    settings: [...tools],
    example: ["stateplane tools show git/git_status"],
  },
  "tools call": {
    args: ["tool"],
    summary: "call one tool, as far as lists and policy allow it; exit 1 if it fails",
    flags: {
      input: { type: "text", value: "json", help: "its arguments, an object (default {})" },
      file: {
        type: "text",
        value: "file",
        help: "read its arguments from a JSON or YAML file; - is standard input",
      },
      yes: {
        type: "switch",
        help: "call without asking what lists and policy ask about; needed where there is no terminal",
      },
    },
    settings: [...tools],
    example: [`stateplane tools call git/git_status --input '{"repo": "."}'`],
  },
  "tools diff": {
    args: ["server?"],
    summary: "show what MCP servers changed since their tools were accepted; exit 1 if anything",
    settings: [...tools],
    example: ["stateplane tools diff git"],
  },
  "tools accept": {
    args: ["server"],
    summary: "accept the tools that an MCP server has now; frees a quarantined one",
    flags: {
      digest: {
        type: "text",
        value: "digest",
        help: "accept only what has this digest, as `tools diff` showed it",
      },
      yes: {
        type: "switch",
        help: "accept without asking; needed where there is no terminal, unless --digest is given",
      },
    },
    settings: [...tools],
    notes: [
      "Shows what changed before it asks. Running workers take the server up again by themselves.",
    ],
    example: ["stateplane tools accept git"],
  },
  "mcp git": {
    args: [],
    summary: "run the git server over standard input and output, for any MCP client",
    settings: [],
    passesOn: true,
    notes: [
      "--root DIR is the folder that holds the repositories, --allow-host HOST a host that may be reached, --protect BRANCH a branch that no push touches; the last two may be given more than once.",
    ],
    example: ["stateplane mcp git --root . --allow-host github.com"],
  },
  "mcp test-runner": {
    args: [],
    summary: "run the test-runner server over standard input and output, for any MCP client",
    settings: [],
    passesOn: true,
    notes: ["--root DIR is the folder that holds the projects."],
    example: ["stateplane mcp test-runner --root ."],
  },
  ...machineSpecs,
  config: {
    args: [],
    summary: "show every setting, secrets masked, and where its value comes from",
    settings: (Object.keys(settingSources) as SettingKey[]).filter(
      (key) => settingSources[key].flag !== undefined,
    ),
    example: ["stateplane config --json"],
  },
  prices: {
    args: ["model?"],
    summary: "show what models cost: all, one, or those whose names hold a text",
    settings: [],
    notes: [
      "Prices come with the program, and go by date and by length of the input. What the configuration gives under prices, or under a provider's prices, goes before them.",
    ],
    example: ["stateplane prices claude-sonnet-4-5", "stateplane prices --json"],
  },
  completion: {
    args: ["shell"],
    summary: "print the script that completes our commands in bash, zsh or fish",
    settings: [],
    notes: [
      "It completes commands, flags and the values that are known, where `stateplane` itself is typed: with an npx or npm script, make an alias of that name first. In bash it needs the package bash-completion.",
    ],
    example: [
      "source <(stateplane completion bash)   # in ~/.bashrc",
      "source <(stateplane completion zsh)    # in ~/.zshrc, after compinit",
      "stateplane completion fish | source    # in ~/.config/fish/config.fish",
    ],
  },
  doctor: {
    args: [],
    summary: "check this machine and its configuration; exit 1 if something required is missing",
    flags: {
      probe: {
        type: "switch",
        help: "try to break out of each sandbox driver instead, and show what held",
      },
    },
    settings: [...store, "controlPlaneUrl", "mcpConfigPath"],
    example: ["stateplane doctor", "stateplane doctor --probe"],
  },
} as const satisfies Record<string, CommandSpec>;

export type CommandName = keyof typeof specs;
