import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readWorkflow } from "../../adapters/workflows/read.ts";
import { retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import { type Answer, walkWorkflow } from "../support/walk-workflow.ts";

const sample = readFileSync(
  join(import.meta.dirname, "../corpus/ferrumdeck-workflow.yaml"),
  "utf8",
);

function defined(text: string): WorkflowDefinition {
  const read = readWorkflow(text);
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.definition;
}

const says = (value: object): Answer => ({ output: JSON.stringify(value) });
const brings = (value: object): Answer => ({
  output: { result: value as never, server: "s", tool: "t" },
});

/** A model that reads two files, changes one, finds one fault, and mends it; or finds none. */
function answers(isReady: boolean): (path: string, work: unknown, attempt: number) => Answer {
  return (path, _work, attempt) => {
    const [, turn = "0"] = /\[(\d+)\]/u.exec(path) ?? [];
    const step = path.replace(/^.*\//u, "");
    switch (step) {
      case "select_file":
        return says(Number(turn) < 2 ? { file_path: `src/${turn}.ts` } : { done: true });
      case "plan_next_change":
        return {
          output:
            Number(turn) < 1
              ? 'Here:\n```json\n{"action": "modify", "file_path": "src/0.ts", "content": "x"}\n```\n'
              : '{"done": true}',
        };
      case "run_tests":
        return attempt === 1
          ? { failure: terminal("tool_failed", "flaky") }
          : brings({ passed: true });
      case "validate_changes":
        return says({ ready_for_pr: isReady, issues: [] });
      case "analyze_issue":
        return says({ done: Number(turn) === 1 });
      case "generate_pr_content":
        return says({ title: "Fix it", body: "All of it", labels: [] });
      case "create_pull_request":
        return brings({ url: "https://example.org/pr/1" });
      default:
        return says({ ok: step });
    }
  };
}

const options = { onlyArgument: (tool: string) => (tool === "read_file" ? "path" : null) };

describe("FerrumDeck's sample workflow", () => {
  const definition = defined(sample);

  it("walks to its end: loops see earlier results, approvals are asked for, skips reach what waits for them [workflow.walk]", () => {
    const walk = walkWorkflow(definition, { task: "mend it" }, answers(true), options);
    expect(walk.snapshot.value).toBe("completed");
    expect(walk.ends).toMatchObject({
      "read_relevant_files[2]/select_file": "completed",
      "read_relevant_files[2]/read_file": "skipped (done)",
      read_relevant_files: "completed",
      fix_issues: "skipped (condition)",
      generate_pr_content: "completed",
      create_pull_request: "completed",
    });
    const inputs = new Map(walk.asked.map(({ path, work }) => [path, work]));
    expect(inputs.get("read_relevant_files[1]/read_file")?.input).toEqual({
      tool_name: "read_file",
      tool_input: { path: "src/1.ts" },
    });
    // A model in a loop is shown what came before it, and the turns before this one.
    const task = String(inputs.get("read_relevant_files[1]/select_file")?.input["task"]);
    expect(task).toContain("Output from explore_repo");
    expect(task).toContain("Output from read_relevant_files");
    expect(task).toContain("src/0.ts");
    expect(inputs.get("implement_changes[0]/write_change")).toMatchObject({
      input: { tool_input: { action: "modify", file_path: "src/0.ts" } },
      asks: { message: null },
    });
    expect(inputs.get("create_pull_request")).toMatchObject({
      stepType: "tool",
      input: {
        tool_name: "create_pull_request",
        tool_input: { title: "Fix it", body: "All of it" },
      },
      asks: { message: expect.stringContaining("Title: Fix it") as string },
    });
    expect(
      walk.asked.filter(({ path }) => path === "run_tests").map(({ attempt }) => attempt),
    ).toEqual([1, 2]);
    expect(walk.output("read_relevant_files")).toMatchObject({
      iterations: 3,
      results: [
        { select_file: { file_path: "src/0.ts" } },
        { select_file: { file_path: "src/1.ts" } },
        { select_file: { done: true } },
      ],
    });
  });

  it("does not open a pull request that is not ready: what needs a skipped step alone is skipped [workflow.walk]", () => {
    const walk = walkWorkflow(definition, { task: "mend it" }, answers(false), options);
    expect(walk.snapshot.value).toBe("completed");
    expect(walk.ends).toMatchObject({
      fix_issues: "completed",
      "fix_issues[1]/apply_fix": "skipped (done)",
      generate_pr_content: "skipped (condition)",
      create_pull_request: "skipped (unneeded)",
    });
  });

  it("ends the same when its process dies between any two events [workflow.killed]", () => {
    const whole = walkWorkflow(definition, {}, answers(true), options);
    expect(whole.events).toBeGreaterThan(20);
    for (let diesAfter = 0; diesAfter < whole.events; diesAfter += 1) {
      const walk = walkWorkflow(definition, {}, answers(true), { ...options, diesAfter });
      expect(walk.snapshot.value).toBe("completed");
      expect(walk.ends).toEqual(whole.ends);
      expect(walk.output("create_pull_request")).toEqual(whole.output("create_pull_request"));
    }
  });

  it("pauses where a person is asked, and ends where they say no or nothing [workflow.pauses]", () => {
    const by = (answer: Answer) => (path: string, work: unknown, attempt: number) =>
      path === "create_pull_request" ? answer : answers(true)(path, work, attempt);
    const no = walkWorkflow(definition, {}, by({ isRejected: true }), options);
    expect(no.snapshot.value).toBe("failed");
    expect(no.snapshot.context.failure).toMatchObject({
      kind: "approval_rejected",
      details: { failed_step: "create_pull_request" },
    });
    const silent = walkWorkflow(definition, {}, by({ isSilent: true }), options);
    expect(silent.snapshot.context.failure?.kind).toBe("approval_expired");
  });
});

const head = "id: w\nname: W\n";

describe("each kind of step", () => {
  it("fans out over a list, so many at a time, and brings what each brought [workflow.fan-out]", () => {
    const definition = defined(`${head}steps:
  - {id: find, type: tool, config: {tool_name: list}}
  - id: each
    type: parallel
    depends_on: [find]
    config:
      for_each: $.find.result[*].name
      max_concurrency: 2
      steps:
        - {id: look, type: tool, config: {tool_name: look, tool_input_from: {path: $.item, nth: $.index}}}
        - {id: tell, type: llm, config: {input_from: {task: "{{$.index}}: {{$.look.result}}"}}}
`);
    let running = 0;
    let most = 0;
    const walk = walkWorkflow(definition, {}, (path, work) => {
      if (path === "find")
        return { output: { result: [{ name: "a" }, { name: "b" }, { name: "c" }] } };
      running += path.endsWith("look") ? 1 : -1;
      most = Math.max(most, running);
      const { path: file } = (work.input["tool_input"] ?? {}) as { path?: string };
      return path.endsWith("look")
        ? { output: { result: `of ${file}` } }
        : { output: `told ${String(work.input["task"])}` };
    });
    expect(walk.snapshot.value).toBe("completed");
    expect(most).toBe(2);
    expect(walk.output("each")).toEqual({
      count: 3,
      results: ["a", "b", "c"].map((name, at) => ({
        look: { result: `of ${name}` },
        tell: { response: `told ${at}: of ${name}` },
      })),
    });
  });

  it("takes one branch, runs branches together and a workflow apart [workflow.steps]", () => {
    const definition = defined(`${head}steps:
  - {id: plan, type: llm}
  - id: both
    type: parallel
    depends_on: [plan]
    config: {steps: [{id: left, type: llm}, {id: right, type: llm}]}
  - id: choose
    type: condition
    depends_on: [both]
    config:
      if: $.both.left.risk > 3 && "prod" in $.both.right.places
      then: [{id: ask, type: approval, config: {message: "Sure?"}}]
      else: [{id: go, type: llm}]
  - id: check
    type: workflow
    depends_on: [choose]
    config: {workflow: review, input_from: {risk: $.both.left.risk, asked: $.choose.result}}
workflows:
  - id: review
    name: R
    steps:
      - {id: first, type: llm, condition: $.input.risk == 5 && $.input.asked}
      - {id: second, type: llm, depends_on: [first]}
`);
    const script = (path: string): Answer =>
      path === "choose/ask"
        ? { output: { status: "approved" } }
        : path === "both/left"
          ? says({ risk: 5 })
          : path === "both/right"
            ? says({ places: ["prod"] })
            : says({ of: path });
    const walk = walkWorkflow(definition, { goal: "g" }, script);
    expect(walk.snapshot.value).toBe("completed");
    expect(walk.ends).toMatchObject({
      "choose/ask": "completed",
      "check/first": "completed",
      "check/second": "completed",
    });
    expect(walk.ends).not.toHaveProperty("choose/go");
    expect(walk.output("choose")).toMatchObject({
      result: true,
      results: { ask: { status: "approved" } },
    });
    expect(walk.output("check")).toMatchObject({ first: { of: "check/first" } });
    const task = (of: string) => walk.asked.find(({ path }) => path === of)?.work.input["task"];
    expect(task("check/first")).toBe('{"risk":5,"asked":true}');
  });

  it("fails, goes on or tries again, as it says [workflow.errors]", () => {
    const definition = defined(`${head}on_error: continue
steps:
  - {id: a, type: llm}
  - {id: b, type: llm, depends_on: [a], retry: {max_attempts: 3}}
  - {id: c, type: llm, depends_on: [b]}
  - {id: d, type: llm, depends_on: [a, c]}
  - {id: e, type: llm, depends_on: [a], on_error: retry}
  - {id: f, type: tool, depends_on: [e], config: {tool_name: t, tool_input_from: $.e.no_such}}
`);
    const script = (path: string, _work: unknown, attempt: number): Answer => {
      if (path === "b") return { failure: retryable("unavailable", "away") };
      if (path === "e" && attempt < 3) return { failure: terminal("tool_failed", "flaky") };
      return says({ ok: true });
    };
    const walk = walkWorkflow(definition, {}, script);
    expect(walk.snapshot.value).toBe("completed");
    expect(walk.ends).toEqual({
      a: "completed",
      b: "failed",
      c: "skipped (blocked)",
      d: "skipped (blocked)",
      e: "completed",
      // What it needs is not there: it never runs with a hole in its input.
      f: "failed",
    });
    expect(walk.asked.map(({ path, attempt }) => `${path}${attempt}`).sort()).toEqual([
      "a1",
      "b1",
      "b2",
      "b3",
      "e1",
      "e2",
      "e3",
    ]);
    const strict = { ...definition, on_error: "fail" as const };
    const failed = walkWorkflow(strict, {}, script);
    expect(failed.snapshot.value).toBe("failed");
    expect(failed.snapshot.context.failure?.message).toContain('step "');
  });
});
