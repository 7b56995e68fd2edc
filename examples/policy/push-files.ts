import { defineTool } from "../../cli/library.ts";

/** Stands for whatever publishes an agent's work. */
export const pushFiles = defineTool({
  name: "push_files",
  description: "Pushes files to a branch.",
  input: {
    type: "object",
    required: ["branch", "files"],
    properties: {
      branch: { type: "string" },
      files: { type: "array", items: { type: "string" } },
    },
  },
  annotations: { readOnly: false },
  run: ({ branch, files }) => `pushed ${String(files)} to ${String(branch)}`,
});
