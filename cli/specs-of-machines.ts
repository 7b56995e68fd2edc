import type { CommandSpec } from "./specs.ts";

/** The commands that show the state machines as they are defined; at work they are seen with `--inspect`. */
export const machineSpecs = {
  "machine list": {
    args: [],
    summary: "list the state machines that run here",
    settings: [],
    example: ["stateplane machine list"],
  },
  "machine show": {
    args: ["machine?"],
    summary: "draw a machine's states and transitions (default step)",
    settings: [],
    notes: ["With --json it prints the machine's definition, whole."],
    example: ["stateplane machine show agent-loop"],
  },
  "machine export": {
    args: ["machine?"],
    summary: "print a machine in another tool's format (default step)",
    flags: {
      format: {
        type: "text",
        value: "name",
        help: "json, mermaid, dot, svg or markdown (default json)",
      },
    },
    settings: [],
    notes: [
      "The JSON is XState's own: Stately's editor imports it, and createMachine takes it. The SVG is the chart as the console and the inspector draw it, light or dark as its reader prefers.",
    ],
    example: [
      "stateplane machine export step --format mermaid",
      "stateplane machine export agent-loop --format svg > agent-loop.svg",
    ],
  },
} as const satisfies Record<string, CommandSpec>;
