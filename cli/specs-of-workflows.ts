import type { SettingKey } from "./config/settings.ts";
import type { CommandSpec } from "./specs.ts";

/** The commands of workflows; `work` are the settings of whoever starts a worker. */
export const workflowSpecs = (work: readonly SettingKey[]) =>
  ({
    "workflow run": {
      args: ["file"],
      summary: "run a workflow",
      flags: {
        input: { type: "text", value: "json", help: "what the workflow is given (default {})" },
        agent: {
          type: "text",
          value: "slug",
          help: "the agent whose tools and budget the run has; needed where there are several",
        },
        model: {
          type: "text",
          value: "model",
          help: "ask this model in every step, whatever the definition says",
        },
        watch: { type: "switch", help: "follow the run, and ask for approvals on the terminal" },
      },
      settings: ["controlPlaneUrl", ...work, "projectId"],
      notes: [
        "The configured control plane runs it, or a `dev` of this folder; the command prints the run's id and ends, unless --watch is given. Where there is none, one is started, and the run is followed. A run that is followed ends the command with 1 if it does not complete. After Ctrl-C or a crash `stateplane workflow watch` goes on with it.",
      ],
      example: [`stateplane workflow run workflow.yaml --input '{"task": "mend the build"}'`],
    },
    "workflow watch": {
      args: ["run"],
      summary: "follow a workflow's run; exit 1 if it does not complete",
      settings: ["controlPlaneUrl", ...work],
      notes: [
        "What waits for a person is asked on the terminal. Where no control plane runs, one is started, and the run goes on.",
      ],
      example: ["stateplane workflow watch wfr_01KDW1V6Q1T7V5D2Q4YF6M3K8Z"],
    },
    "workflow validate": {
      args: ["file"],
      summary: "check a workflow's definition, YAML or JSON; exit 2 if it can't be used",
      settings: [],
      notes: ["Each problem has its file, line and column. - is standard input."],
      example: ["stateplane workflow validate workflow.yaml"],
    },
    "workflow graph": {
      args: ["file"],
      summary: "draw a workflow's steps and what they wait for",
      flags: {
        format: { type: "text", value: "name", help: "mermaid or text (default text)" },
      },
      settings: [],
      example: ["stateplane workflow graph workflow.yaml --format mermaid"],
    },
  }) satisfies Record<string, CommandSpec>;
