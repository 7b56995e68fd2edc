import type { CommandSpec, FlagSpec } from "./specs.ts";
import type { SettingKey } from "./config/settings.ts";

const client = ["controlPlaneUrl", "dataDir"] as const satisfies SettingKey[];
const note: FlagSpec = { type: "text", value: "text", help: "a note, kept with the decision" };

/** What people do with the questions that they are asked. */
export const approvalSpecs = {
  "approvals list": {
    args: [],
    summary: "list the actions that wait for approval, in full",
    flags: {
      limit: { type: "text", value: "n", help: "at most n, from 1 to 100 (default 20)" },
    },
    settings: [...client],
    example: ["stateplane approvals list"],
  },
  "approvals approve": {
    args: ["approval"],
    summary: "let the action happen, once",
    flags: {
      note,
      digest: {
        type: "text",
        value: "digest",
        help: "approve only what has this digest, as `approvals list` showed it",
      },
      edit: {
        type: "text",
        value: "json",
        help: "approve the call with these arguments instead: a JSON object, a file of one, or - for standard input",
      },
      yes: {
        type: "switch",
        help: "approve without asking; needed where there is no terminal, unless --digest is given",
      },
    },
    settings: [...client],
    notes: [
      "Prints all of what is approved, with its digest, before it answers.",
      "--edit is for calls of tools, on a control plane of ours: policy is asked anew for the edited call, and the agent is told of the edit.",
    ],
    example: ["stateplane approvals approve apr_01JFVX0000000000000000000A --note checked"],
  },
  "approvals reject": {
    args: ["approval"],
    summary: "refuse the action",
    flags: {
      note,
      yes: { type: "switch", help: "as for approve; a no is never asked about" },
    },
    settings: [...client],
    example: ['stateplane approvals reject apr_01JFVX0000000000000000000A --note "wrong branch"'],
  },
} as const satisfies Record<string, CommandSpec>;
