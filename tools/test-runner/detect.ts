import { type } from "arktype";
import { checkers } from "./checkers.ts";
import { testTool } from "./context.ts";
import { openProject } from "./project.ts";
import { testRunners } from "./runners.ts";

export const detect = testTool({
  name: "detect",
  description:
    "Which test runners, linters and type checkers fit a project, by its files. repo: the project's " +
    "folder, relative to the root; the root itself unless given. Runs nothing.",
  annotations: {
    title: "Detect test tools",
    readOnlyHint: true,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: false,
  },
  input: type({ "+": "reject", repo: "string <= 1000 = '.'" }),
  output: type({
    runners: "string[]",
    linters: "string[]",
    typeCheckers: "string[]",
    commands: "string[]",
  }),
  async run({ repo }, { root, commands }) {
    const project = await openProject(root, repo);
    if (!project.ok) return project;
    const used = checkers.filter((checker) => checker.isUsedBy(project.value));
    const named = (kind: "lint" | "types") =>
      used.filter((checker) => checker.kind === kind).map(({ name }) => name);
    const structured = {
      runners: testRunners
        .filter((runner) => runner.isUsedBy(project.value))
        .map(({ name }) => name),
      linters: named("lint"),
      typeCheckers: named("types"),
      commands: [...commands.keys()],
    };
    const list = (found: readonly string[]) => found.join(", ") || "none";
    const text = [
      `Test runners: ${list(structured.runners)}`,
      `Linters: ${list(structured.linters)}`,
      `Type checkers: ${list(structured.typeCheckers)}`,
      `Commands: ${list(structured.commands)}`,
    ].join("\n");
    return { ok: true, value: { text, structured } };
  },
});
