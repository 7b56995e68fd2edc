import type { PlannedStep } from "../../adapters/control-plane/api.ts";

/** A step of the example, and how it must end for the example to be well. */
export interface ExampleStep extends PlannedStep {
  name: string;
  expected: "completed" | "denied" | "rejected";
}

const repo = "demo";

const sandboxed = `
const text = require("node:fs").readFileSync("GUARANTEES.md", "utf8");
console.log(text.trim().split("\\n").length + " guarantees");
`;

/** What the agent does: one step of each kind, a tool that policy denies, and a commit that a person approves. */
export function plan(
  model: string,
  hasSandbox: boolean,
  commit: "completed" | "rejected" = "completed",
): ExampleStep[] {
  const documents = [
    { content: "Commit messages say why, in the imperative, on one line.", title: "Commits" },
    { content: "Pushing is left to people.", title: "Pushing" },
    { content: "Lunch is at noon.", title: "Lunch" },
  ];
  const steps: ExampleStep[] = [
    {
      name: "find the rules",
      type: "retrieval",
      input: { query: "commit messages", backend: "local", top_k: 1, documents },
      expected: "completed",
    },
    tool("look at the repository", "git_status", { repo }),
    tool("read the change", "git_diff", { repo }),
    {
      name: "count in the sandbox",
      type: "sandbox",
      input: {
        language: "node",
        code: sandboxed,
        files: { "GUARANTEES.md": "Every job is reported once.\nA denied tool is never run.\n" },
      },
      expected: "completed",
    },
    {
      name: "word the commit",
      type: "llm",
      // An agent: it may look at the repository with the tools before it answers.
      input: {
        model,
        task: `Look at what has changed in the repository "${repo}", and write a commit message for it: one line.`,
        allowed_tools: ["git_status", "git_diff", "git_log"],
      },
      expected: "completed",
    },
    { ...tool("push it (denied)", "git_push", { repo }), on_error: "continue", expected: "denied" },
    tool("stage it", "git_add", { repo, files: ["GUARANTEES.md", "README.md"] }),
    {
      ...tool("commit it (asks)", "git_commit", { repo, message: "Write down what is guaranteed" }),
      expected: commit,
    },
  ];
  return hasSandbox ? steps : steps.filter(({ type }) => type !== "sandbox");
}

function tool(
  name: string,
  toolName: string,
  input: Record<string, string | string[]>,
): ExampleStep {
  return {
    name,
    type: "tool",
    input: { tool_name: toolName, tool_input: input },
    expected: "completed",
  };
}
