import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createWorkflowEngine } from "../../actors/workflow/engine.ts";
import { createWorkflowReader } from "../../adapters/workflows/step-request.ts";
import { readWorkflow } from "../../adapters/workflows/read.ts";
import { graphText } from "../../cli/output/graph-text.ts";
import { workflowRows } from "../../machines/workflow/graph.ts";
import { agent, apiKey, startTestPlane } from "../support/embedded-control-plane.ts";
import { runCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const sample = join(import.meta.dirname, "../corpus/ferrumdeck-workflow.yaml");
const folder = useTemporaryFolder();
const cli = (...args: string[]) => runCli(args, { cwd: folder, env: { COLUMNS: "60" } });

describe("workflow validate", () => {
  it("says that a definition is valid, or each problem with its place, and ends with 0 or 2 [workflow.command]", async () => {
    const good = await cli("workflow", "validate", sample);
    expect(good).toMatchObject({
      code: 0,
      stdout: "safe-pr-agent-workflow 1.0.0 is valid: 16 steps\n",
    });
    const broken = readFileSync(sample, "utf8")
      .replace("type: loop", "type: lop")
      .replace("explore_repo]", "explore]");
    writeFileSync(join(folder, "bad.yaml"), broken);
    const bad = await cli("workflow", "validate", "bad.yaml");
    expect(bad).toMatchObject({ code: 2, stdout: "" });
    expect(bad.stderr.trim().split("\n")).toEqual([
      'stateplane: bad.yaml:62:11: steps[2].type: there is no step type "lop"; did you mean "loop"?',
      expect.stringMatching(
        /^stateplane: bad\.yaml:63:18: steps\[2\]\.depends_on\[0\]: there is no step "explore" here/u,
      ),
    ]);
    const asJson = await cli("workflow", "validate", "bad.yaml", "--json");
    expect(asJson.code).toBe(2);
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      valid: false,
      file: "bad.yaml",
      problems: [{ line: 62, column: 11, where: "steps[2].type" }, { line: 63 }],
    });
    writeFileSync(join(folder, "latin.yaml"), Buffer.from("id: caf\u00e9", "latin1"));
    const latin = await cli("workflow", "validate", "latin.yaml");
    expect(latin).toMatchObject({ code: 2, stderr: "stateplane: latin.yaml: expected UTF-8\n" });
    writeFileSync(join(folder, "dos.yaml"), `\ufeff${broken.replaceAll("\n", "\r\n")}`);
    const dos = await cli("workflow", "validate", "dos.yaml");
    expect(dos.stderr).toBe(bad.stderr.replaceAll("bad.yaml", "dos.yaml"));
    const none = await cli("workflow", "validate", "none.yaml");
    expect(none).toMatchObject({ code: 2, stderr: "stateplane: none.yaml: no such file\n" });
  });
});

describe("workflow run", () => {
  it("names the flag and the agents where it can't know whose tools and budget a run has; else it prints the id and ends [workflow.command]", async () => {
    const agents = [agent, { ...agent, slug: "other" }];
    const plane = await startTestPlane({
      agents,
      workflows: createWorkflowEngine(createWorkflowReader()),
    });
    try {
      const env = { CONTROL_PLANE_URL: plane.url, FD_API_KEY: apiKey };
      const run = (...args: string[]) =>
        runCli(["workflow", "run", sample, ...args], { cwd: folder, env });
      const unnamed = await run();
      expect(unnamed.code).toBe(2);
      expect(unnamed.stderr).toMatch(
        /^stateplane: --agent: expected the agent .*helper, other\n$/u,
      );
      const unknown = await run("--agent", "helpr");
      expect([unknown.code, unknown.stderr]).toEqual([
        2,
        "stateplane: there is no agent named helpr; did you mean helper?\n",
      ]);
      const named = await run("--agent", "helper");
      expect(named).toMatchObject({ code: 0, stdout: expect.stringMatching(/^wfr_\w+\n$/u) });
      expect(named.stderr).toContain("workflow watch wfr_");
    } finally {
      await plane.close();
    }
    const { stdout } = await cli("workflow", "run", "--help");
    const said = stdout.replaceAll(/\s+/gu, " ");
    expect(said).toContain("prints the run's id and ends, unless --watch is given");
  });
});

describe("workflow graph", () => {
  it("draws the steps and what they wait for, as text and for Mermaid [workflow.command]", async () => {
    const wide = { cwd: folder, env: { COLUMNS: "120" } };
    const text = await runCli(["workflow", "graph", sample], wide);
    expect(text.code).toBe(0);
    expect(text.stdout).toContain(
      "  run_tests            tool      after implement_changes; run_tests\n",
    );
    expect(text.stdout).toContain("    select_file        llm\n");
    const mermaid = await cli("workflow", "graph", sample, "--format", "mermaid", "--json");
    const { graph } = JSON.parse(mermaid.stdout) as { graph: string };
    const [first, ...lines] = graph.split("\n");
    expect(first).toBe("flowchart TD");
    const opened = lines.filter((line) => line.trimStart().startsWith("subgraph")).length;
    expect(lines.filter((line) => line.trim() === "end")).toHaveLength(opened);
    expect(lines.filter((line) => line.includes("-->"))).toHaveLength(13);
    expect(graph.replaceAll("<br/>", "").replaceAll("-->", "")).not.toMatch(/[<>]|#(?!\d+;)/u);
    const wrong = await cli("workflow", "graph", sample, "--format", "svg");
    expect(wrong).toMatchObject({
      code: 2,
      stderr: 'stateplane: --format: expected mermaid or text, not "svg"\n',
    });
  });

  it("folds what it draws for the terminal, each word whole, whatever its width [workflow.command]", async () => {
    const read = readWorkflow(readFileSync(sample, "utf8"));
    if (!read.ok) throw new Error("the sample is not valid");
    const rows = workflowRows(read.definition);
    const words = (text: string) => text.split(/\s+/u).join(" ").trim();
    const whole = graphText(rows, null);
    for (const columns of [40, 60, 80, 120]) {
      const text = graphText(rows, columns);
      expect(words(text)).toBe(words(whole));
      for (const line of text.split("\n")) expect(line.length).toBeLessThanOrEqual(columns);
    }
  });

  it("says what it takes within 60 columns [workflow.command]", async () => {
    for (const verb of ["validate", "graph"]) {
      const { stdout } = await cli("workflow", verb, "--help");
      expect(stdout).toContain("<file>");
      // How the program was started is written as it was.
      const lines = stdout.split("\n").filter((line) => !line.includes("bin.ts"));
      expect(lines.filter((line) => line.length > 60)).toEqual([]);
    }
  });
});
