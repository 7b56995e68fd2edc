import { describe, expect, it } from "vitest";
import * as fc from "fast-check";
import stringWidth from "string-width";
import { layOut } from "../../cli/output/table.ts";
import { createOutput } from "../../cli/output/output.ts";
import { failureError, failureText } from "../../cli/output/errors.ts";
import { terminal, retryable } from "../../machines/contracts/domain/failure.ts";

function write(made: { isTTY?: boolean; isJson?: boolean; env?: Record<string, string> } = {}) {
  const { isTTY = false, isJson = false, env = {} } = made;
  const written: string[] = [];
  const out = { isTTY, write: (text: string) => written.push(text) };
  return { output: createOutput({ out, remarks: out, isJson, env }), written };
}

describe("what is printed", () => {
  it("stands in aligned columns, without colour when piped", () => {
    const { output, written } = write();
    output.table(
      ["RUN", "STATUS"],
      [
        ["run_1", "completed"],
        ["run_22", "failed"],
      ],
    );
    expect(written.join("")).toBe("RUN     STATUS\nrun_1   completed\nrun_22  failed\n");
  });

  it("aligns characters of East Asian scripts, which take two columns each", () => {
    const rows = [
      ["名前", "STATUS"],
      ["日本語", "ok"],
      ["a", "failed"],
    ];
    expect(layOut(rows, null)).toEqual(["名前    STATUS", "日本語  ok", "a       failed"]);
  });

  it("wraps between words where the terminal is narrow, and never breaks an id", () => {
    const id = "run_01JFVX0000000000000000000A";
    const reason = "the tool is not on the worker's allowlist";
    const wrapped = layOut(
      [
        ["ID", "REASON"],
        [id, reason],
      ],
      60,
    );
    expect(wrapped[1]).toMatch(/^run_01JFVX0000000000000000000A {2}the tool/);
    const listed = layOut(
      [
        ["RUN", "STEP", "WHY"],
        [id, id, reason],
      ],
      60,
    );
    expect(listed).toEqual([`RUN   ${id}`, `STEP  ${id}`, `WHY   ${reason}`]);
  });

  it("fits the terminal and loses no word, whatever the cells hold", () => {
    const cell = fc.oneof(
      fc.string({ unit: fc.constantFrom("a", "b", " ", "日", "é", "👍", "_") }),
      fc.constantFrom("run_01JFVX0000000000000000000A", "", "a b c d e f"),
    );
    const grid = fc.integer({ min: 1, max: 6 }).chain((width) =>
      fc.array(fc.array(cell, { minLength: width, maxLength: width }), {
        minLength: 2,
        maxLength: 5,
      }),
    );
    fc.assert(
      fc.property(grid, fc.integer({ min: 60, max: 200 }), (rows, columns) => {
        const headed = [(rows[0] ?? []).map((_, at) => `HEAD ${at}`), ...rows];
        const lines = layOut(headed, columns);
        for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(columns);
        const letters = (texts: readonly string[]) =>
          [...texts.join("").replaceAll(" ", "")].sort();
        const shown = letters(lines);
        for (const letter of new Set(letters(rows.flat()))) expect(shown).toContain(letter);
      }),
    );
  });

  it("says each pair's name once, with a value beside or below it that is never broken within a word [cli.narrow]", () => {
    const id = "run_01JFVX0000000000000000000A";
    const digest = "9acb3bb4ddbd9dbe7e34861a8aa151933306ce66b47b1688c0ef39e9eafabcc0";
    const written: string[] = [];
    const out = { isTTY: false, write: (text: string) => written.push(text) };
    const pairs: [string, string][] = [
      ["approval", id],
      ["digest", digest],
      ["reason", "its outcome was never recorded, and a yes does all of it again"],
      ["role", ""],
    ];
    createOutput({ out, remarks: out, isJson: false, env: {}, columns: 60 }).pairs(pairs);
    expect(written.join("").split("\n")).toEqual([
      `approval  ${id}`,
      "digest",
      `  ${digest}`,
      "reason    its outcome was never recorded, and a yes does all",
      "          of it again",
      "role",
      "",
    ]);
  });

  it("has colours on a terminal only, and not where NO_COLOR or TERM forbid them", () => {
    const isColoured = (made: Parameters<typeof write>[0]) =>
      write(made).output.colors.red("x") !== "x";
    expect(isColoured({ isTTY: true })).toBe(true);
    expect(isColoured({ isTTY: false, env: { FORCE_COLOR: "", CI: "true" } })).toBe(false);
    expect(isColoured({ isTTY: true, env: { NO_COLOR: "1" } })).toBe(false);
    expect(isColoured({ isTTY: true, env: { TERM: "dumb" } })).toBe(false);
    expect(isColoured({ isTTY: true, isJson: true })).toBe(false);
  });

  it("can do nothing to a terminal, whatever a model or a tool said", () => {
    const { output, written } = write({ isTTY: true, env: { NO_COLOR: "1" } });
    const hostile = "a\u001b[2Jb\u009b31mc\u0007\u202ed\r\ne";
    output.table(["X"], [[hostile]]);
    output.remark(hostile);
    output.json({ hostile });
    output.document({ hostile });
    expect(written.join("").replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202e]/u);
    expect(JSON.parse(written[3] ?? "")).toEqual({ hostile });
  });
});

describe("a failure", () => {
  it("is said once, whatever its kind repeats", () => {
    const said = "the run's budget exceeded: tool calls 2 of 1";
    expect(failureText("budget_exceeded", said)).toBe(said);
    expect(failureText("policy_denied", "tool 'x' is denied")).toBe(
      "policy_denied: tool 'x' is denied",
    );
  });
});

describe("exit codes", () => {
  it("tell bad usage from a service that can't be reached", () => {
    expect(failureError(retryable("unavailable", "ECONNREFUSED")).exitCode).toBe(3);
    expect(failureError(retryable("rate_limited", "429")).exitCode).toBe(3);
    expect(failureError(terminal("unauthorized", "401"))).toMatchObject({ exitCode: 2 });
    expect(failureError(terminal("not_found", "no such run")).exitCode).toBe(2);
    expect(failureError(terminal("too_large", "413 over the limit"))).toMatchObject({
      exitCode: 2,
      message: "413 over the limit",
    });
  });
});
