import type { CommandSpec } from "./specs.ts";
import type { SettingKey } from "./config/settings.ts";

const client = ["controlPlaneUrl", "dataDir"] as const satisfies SettingKey[];

/** The groups of the commands below. */
export const planeGroups: Readonly<Record<string, string>> = {
  audit: "tail and verify what was decided and changed, and by whom",
  policy: "list, apply, delete and explain policies, and prove what they let through",
  tenants: "list and create tenants, each with agents, policies and keys of its own",
  budgets: "show and set what all runs of an agent or a tenant may spend together",
  keys: "create, list, rotate and revoke API keys of the control plane",
};

/** Commands that keep a control plane of ours. */
export const planeSpecs = {
  "control-plane": {
    args: [],
    summary: "serve the control plane alone, for workers on this or other machines",
    flags: {
      host: {
        type: "text",
        value: "address",
        help: "the address to listen on (default 127.0.0.1; 0.0.0.0 for every machine)",
      },
    },
    settings: ["port", "redisUrl", "store", "dataDir", "mcpConfigPath", "logLevel"],
    notes: [
      "Needs FD_API_KEY, its first key, which may do everything, and REDIS_URL, the stream that the workers read. State is kept in .stateplane/. Traffic is plain HTTP: put a proxy with TLS before it where others share the network.",
    ],
    example: [
      "REDIS_URL=redis://localhost:6379 FD_API_KEY=fd_dev_key_abc123 stateplane control-plane --port 8080",
    ],
  },
  backup: {
    args: ["file"],
    summary: "write a whole copy of the control plane's database to a new file, while it runs",
    settings: [...client],
    notes: [
      "Needs a key with admin. To go back to a copy, stop the control plane and put the file in the place of control-plane.sqlite in its data folder, without the files -wal and -shm beside it.",
    ],
    example: ["stateplane backup control-plane-2026-11-25.sqlite"],
  },
  top: {
    args: [],
    summary: "show what all workers do now: jobs, steps, runs, cost and failures, again and again",
    flags: {
      every: {
        type: "text",
        value: "s",
        help: "look every s seconds, from 0.5 to 3600 (default 2)",
      },
      workers: {
        type: "text",
        value: "addresses",
        help: "where workers answer with their metrics, such as localhost:9464,localhost:9465",
      },
    },
    settings: [...client, "redisUrl", "store", "queuePrefix", "projectId", "httpPort"],
    notes: [
      "Reads the store and the control plane; the states of the steps that are under way come from the workers' metrics (WORKER_HTTP_PORT). Where it is piped, or with --json, it looks once.",
    ],
    example: ["stateplane top --workers localhost:9464"],
  },
  "audit tail": {
    args: [],
    summary: "show the newest entries of the audit: who decided or changed what",
    flags: {
      limit: { type: "text", value: "n", help: "at most n, from 1 to 100 (default 20)" },
    },
    settings: [...client],
    example: ["stateplane audit tail --limit 50"],
  },
  "audit verify": {
    args: [],
    summary: "check that no entry of the audit was changed, removed or cut off; exit 1 if one was",
    flags: {
      head: {
        type: "text",
        value: "head",
        help: "a head that an earlier verify printed, which the audit must have passed through",
      },
    },
    settings: [...client],
    notes: [
      "Every hash is computed here, not by the control plane. Note the printed head down on another machine: it shows even a chain that was made anew.",
    ],
    example: ["stateplane audit verify"],
  },
  "policy list": {
    args: [],
    summary: "list the policies, in the order in which they decide",
    settings: [...client],
    example: ["stateplane policy list"],
  },
  "policy apply": {
    args: ["file"],
    summary:
      "make the policies of a YAML or JSON file, or put them in place of those with their names",
    settings: [...client],
    notes: ["- is standard input. Policies that the file does not name stay as they are."],
    example: ["stateplane policy apply policies.yaml"],
  },
  "policy delete": {
    args: ["policy"],
    summary: "delete a policy",
    settings: [...client],
    example: ["stateplane policy delete pol_01JFVX0000000000000000000A"],
  },
  "policy explain": {
    args: ["agent", "tool"],
    summary: "show what policy would say of a tool call, by which rule and why; nothing is called",
    flags: {
      server: { type: "text", value: "name", help: "the MCP server that has the tool" },
      input: { type: "text", value: "json", help: "its arguments, an object (default {})" },
      file: {
        type: "text",
        value: "file",
        help: "read its arguments from a JSON or YAML file; - is standard input",
      },
      at: {
        type: "text",
        value: "time",
        help: "as if it were this time, such as 2026-12-24T20:00:00Z",
      },
    },
    settings: [...client],
    example: [`stateplane policy explain assistant push --server git --input '{"branch": "main"}'`],
  },
  "policy prove": {
    args: [],
    summary: "prove that a tool never runs unapproved, or show the shortest way in which it does",
    flags: {
      tool: { type: "text", value: "name", help: "the tool, as a job names it" },
      unapproved: {
        type: "switch",
        help: "can it run without a person's yes to exactly that call? (the default)",
      },
      "at-all": { type: "switch", help: "can it run at all?" },
      "after-rejection": { type: "switch", help: "can a call run that a person has rejected?" },
      policies: {
        type: "text",
        value: "file",
        help: "policies of the control plane, as policy apply takes them",
      },
    },
    settings: ["controlPlaneUrl", "mcpConfigPath", "redisUrl", "store", "dataDir"],
    notes: [
      "Walks every path of the step and agent-loop machines under this configuration: its lists, agents, tools and policy function. Exit code 0: no path does; 1: one does, and is shown. Nothing is called.",
      "A policy function is tried with a thousand sets of arguments, of the tool's schema and of its own literals: of others a proof says nothing.",
    ],
    example: ["stateplane policy prove --tool push_files --unapproved"],
  },
  "tenants list": {
    args: [],
    summary: "list the tenants",
    settings: [...client],
    example: ["stateplane tenants list"],
  },
  "tenants create": {
    args: ["slug"],
    summary: "create a tenant: what it has, no other tenant sees",
    flags: {
      "per-minute": {
        type: "text",
        value: "n",
        help: "how many calls a minute all its keys together may make",
      },
    },
    settings: [...client],
    notes: [
      "Needs a key of the operator's with admin. The tenant's first key: keys create admin --scopes admin --tenant SLUG.",
    ],
    example: ["stateplane tenants create acme"],
  },
  "budgets show": {
    args: [],
    summary: "show the budgets of agents and tenants, and what was spent of them",
    settings: [...client, "projectId"],
    example: ["stateplane budgets show"],
  },
  "budgets set": {
    args: ["owner"],
    summary:
      "set what all runs of an agent or a tenant together may spend in a day, a month, or in all",
    flags: {
      period: {
        type: "text",
        value: "period",
        help: "day, month or total (default month), in UTC",
      },
      cost: { type: "text", value: "dollars", help: "at most so much money, such as 12.50" },
      tokens: { type: "text", value: "n", help: "at most n tokens, read and written" },
      "tool-calls": { type: "text", value: "n", help: "at most n calls of tools" },
      none: { type: "switch", help: "no limit in this period" },
    },
    settings: [...client],
    notes: [
      "OWNER is agent/SLUG or tenant/SLUG. What is given takes the place of all limits of that period. Needs a key with admin; a tenant's budgets are set by the operator.",
    ],
    example: ["stateplane budgets set agent/assistant --period day --cost 5"],
  },
  "keys list": {
    args: [],
    summary: "list the API keys, never their secrets",
    settings: [...client],
    example: ["stateplane keys list"],
  },
  "keys create": {
    args: ["name"],
    summary: "create an API key and print its secret, once",
    flags: {
      scopes: {
        type: "text",
        value: "list",
        help: "read, work, write, approve or admin, with commas between (default read)",
      },
      roles: {
        type: "text",
        value: "list",
        help: "roles whose questions it may answer, where a policy names one",
      },
      days: { type: "text", value: "n", help: "how many days it is valid (default: for ever)" },
      tenant: {
        type: "text",
        value: "slug",
        help: "whose key it is (default: that of the key used)",
      },
      "per-minute": { type: "text", value: "n", help: "how many calls a minute it may make" },
    },
    settings: [...client],
    notes: [
      "Every key reads. work is a worker's: it reports steps and asks policy and people. write starts and cancels runs and registers agents and tools. approve answers what people are asked. admin is all of them, and keys and policies.",
    ],
    example: ["stateplane keys create worker-1 --scopes work"],
  },
  "keys rotate": {
    args: ["key"],
    summary: "give a key a new secret and print it; the old one works for another hour",
    settings: [...client],
    notes: ["Where a secret has leaked, revoke the key and create another: that ends it at once."],
    example: ["stateplane keys rotate key_01JFVX0000000000000000000A"],
  },
  "keys revoke": {
    args: ["key"],
    summary: "revoke a key for good, at once",
    settings: [...client],
    example: ["stateplane keys revoke key_01JFVX0000000000000000000A"],
  },
} as const satisfies Record<string, CommandSpec>;
