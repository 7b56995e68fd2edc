import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** What a model says in FerrumDeck's sample workflow: it reads two files, changes one, and opens a pull request. */
const after = (turns: number, step: string): string =>
  `"iterations": ${turns},\n  "results": [\n    {\n      "${step}"`;
const says = (contains: string, said: object) => ({
  expect: { contains },
  reply: { content: JSON.stringify(said), usage: { inputTokens: 10, outputTokens: 5 } },
});
// What a later turn of a loop is shown says which it is; the first is told by its system prompt.
const script = [
  says(after(2, "select_file"), { done: true }),
  says(after(1, "select_file"), { file_path: "b.txt" }),
  says("select the next most relevant file", { file_path: "a.txt" }),
  says(after(1, "plan_next_change"), { done: true }),
  says("determine the next change", { action: "modify", file_path: "a.txt", content: "mended" }),
  says("You are analyzing a task request", { objective: "mend it" }),
  says("create a detailed plan", { implementation_plan: [] }),
  says("Review the test results", { ready_for_pr: true, issues: [], summary: "fine" }),
  says("Generate a comprehensive PR description", {
    title: "Mend it",
    body: "Mended.",
    labels: [],
  }),
];

/** Tools that write each call to a ledger, and a policy that kills its process as each step but the first begins. */
const config = `
import { appendFileSync, existsSync, readFileSync } from "node:fs";
const lines = (file) => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\\n") : []);
const tool = (name, properties, answer) => ({
  name,
  description: name,
  input: { type: "object", properties, required: Object.keys(properties) },
  run: async (input) => {
    appendFileSync("ledger.txt", name + " " + JSON.stringify(input) + "\\n");
    return answer(input);
  },
});
const text = { type: "string" };
let own = null;
const policy = (action, job) => {
  own ??= job.stepId;
  if (process.env.KILLS === "1" && job.stepId !== own && !lines("kills.txt").includes(job.stepId)) {
    appendFileSync("kills.txt", job.stepId + "\\n");
    process.kill(process.pid, "SIGKILL");
  }
  return { kind: "allow", reason: "nothing speaks against it" };
};
const tools = [
  tool("list_directory", { path: text }, () => ({ entries: ["a.txt", "b.txt"] })),
  tool("read_file", { path: text }, ({ path }) => ({ text: "content of " + path })),
  tool("write_file", { file_path: text, content: text }, () => ({ written: true })),
  tool("run_tests", { test_command: text }, () => ({ passed: true })),
  tool("create_pull_request", { title: text, body: text }, () => ({ pr_url: "https://example.org/pr/1" })),
];
export default {
  tools,
  policy,
  store: "sqlite",
  modelScript: "script.json",
  allowlist: { allowed: tools.map(({ name }) => name) },
};
`;

/** Writes the project that FerrumDeck's sample workflow runs in. */
export function writeSafePrProject(folder: string): void {
  writeFileSync(join(folder, "script.json"), JSON.stringify(script));
  writeFileSync(join(folder, "stateplane.config.js"), config);
}
