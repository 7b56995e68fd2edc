import type { SettingKey } from "./config/settings.ts";
import type { CommandSpec, FlagSpec } from "./specs.ts";

/** How a replay may leave its recording: taken by `steps replay` and `eval replay` alike. */
export const replayFlags = {
  "fork-at": {
    type: "text",
    value: "n",
    help: "serve the effects before the nth, and make them from there on",
  },
  model: { type: "text", value: "name", help: "ask this model in place of the recorded one" },
  "system-prompt": {
    type: "text",
    value: "file",
    help: "a file with other instructions for the model",
  },
  policy: {
    type: "text",
    value: "file",
    help: "judge tool calls by this: YAML or JSON with allowed, approvalRequired and denied, or a module whose default export is a policy function",
  },
  "allow-new-tool-calls": {
    type: "switch",
    help: "really make calls that were never recorded, of tools that are safe to repeat",
  },
  live: {
    type: "switch",
    help: "really make every call that was never recorded, whatever it changes",
  },
  yes: { type: "switch", help: "do not ask before --live" },
} as const satisfies Record<string, FlagSpec>;

/** The commands about single steps; `store` are the settings that say where steps are kept. */
export const stepSpecs = (store: readonly SettingKey[]) =>
  ({
    "steps show": {
      args: ["run", "step?"],
      alias: "get",
      summary: "show what the store keeps of a step",
      settings: [...store, "controlPlaneUrl"],
      notes: [
        "Phase and fence; while the step has not ended, also its states, journal and wake time. `runs get` shows its result.",
        "Reads the store that REDIS_URL names, or that of a `stateplane dev` in this folder. A step's id alone will do where the control plane is Stateplane's own, which is asked for its run.",
      ],
      example: [
        "stateplane steps show stp_01JFVX0000000000000000000B",
        "stateplane steps show run_01JFVX0000000000000000000A stp_01JFVX0000000000000000000B",
      ],
    },
    "steps replay": {
      args: ["run", "step?"],
      summary:
        "walk a recorded step once more, touching nothing, or go another way from some point on",
      flags: replayFlags,
      settings: [...store, "controlPlaneUrl", "mcpConfigPath", "modelScript"],
      notes: [
        "Serves each effect from the step's journal, through the worker's own step machine, and says what differs. A step that waits and a dead letter can always be replayed; one that has ended where WORKER_KEEP_JOURNALS=on was set, as `dev` does.",
        "With a change, effects are served until the first that differs, or up to --fork-at; from there on the model is really asked. Calls that were recorded with the same arguments are served, others refused unless a flag allows them.",
        "Exit code 1: it came out otherwise than recorded; with a change: something was refused, or the step did not come to its end.",
      ],
      example: [
        "stateplane steps replay run_01JFVX0000000000000000000A stp_01JFVX0000000000000000000B",
        "stateplane steps replay stp_01JFVX0000000000000000000B --fork-at 3 --model openai/gpt-4.1-mini",
      ],
    },
  }) satisfies Record<string, CommandSpec>;
