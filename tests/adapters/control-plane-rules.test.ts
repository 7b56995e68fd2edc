import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AgentVersion, Run, Step } from "../../adapters/control-plane/embedded/documents.ts";
import { resolveBudget } from "../../adapters/control-plane/embedded/budget.ts";
import { brokenLimit, readBudget } from "../../machines/contracts/domain/budget.ts";
import { decideTool } from "../../adapters/control-plane/embedded/changes/check-tool.ts";
import { jobInput } from "../../adapters/control-plane/embedded/changes/create-run.ts";
import { readTraceparent } from "../../adapters/control-plane/embedded/routes/run-span.ts";
import { nextMove, trackWaiting } from "../../adapters/control-plane/embedded/changes/run-state.ts";
import { isStepEnded, stepStatuses } from "../../machines/contracts/domain/status.ts";

const version: AgentVersion = {
  id: "agv_1",
  tenantId: "ten_1",
  agentId: "agt_1",
  version: "1",
  model: "gpt-4o",
  systemPrompt: "Be kind.",
  modelParams: { temperature: 0.1 },
  allowedTools: ["read", "write", "erase"],
  approvalRequiredTools: ["write", "send"],
  deniedTools: ["erase"],
  budget: {},
  approvalExpiresInMs: null,
  createdAt: 0,
};

describe("a tool decision", () => {
  it("is denied over approval required over allowed over denied by default", () => {
    const kind = (name: string) => decideTool(version, { server: null, name }).kind;
    expect(["erase", "write", "send", "read", "unheard-of"].map(kind)).toEqual([
      "deny",
      "ask",
      "ask",
      "allow",
      "deny",
    ]);
  });

  it("is by server and name, as the worker's is, and closed where the server is not said", () => {
    const lists = {
      allowedTools: ["write_file", "secrets/read"],
      approvalRequiredTools: ["mail/send"],
      deniedTools: ["prod/write_file"],
    };
    const kind = (server: string | null, name: string) => decideTool(lists, { server, name }).kind;
    expect(kind("dev", "write_file")).toBe("allow");
    expect(kind("prod", "write_file")).toBe("deny");
    expect(kind(null, "write_file")).toBe("deny");
    expect(kind("secrets", "read")).toBe("allow");
    expect(kind("other", "read")).toBe("deny");
    expect(kind("mail", "send")).toBe("ask");
    expect(kind(null, "send")).toBe("ask");
    // An entry with a slash lets through the tool of that server alone, whatever another one calls its own.
    expect(kind("other", "secrets/read")).toBe("deny");
    expect(kind("a.prod", "write_file")).toBe("allow");
  });

  it("never allows a tool that is on the denied list, whatever else lists it", () => {
    const names = fc.array(fc.constantFrom("a", "b", "c"));
    fc.assert(
      fc.property(
        names,
        names,
        names,
        fc.constantFrom("a", "b", "c"),
        (allowed, ask, denied, tool) => {
          const lists = { allowedTools: allowed, approvalRequiredTools: ask, deniedTools: denied };
          const { kind } = decideTool(lists, { server: null, name: tool });
          if (denied.includes(tool)) expect(kind).toBe("deny");
          else if (ask.includes(tool)) expect(kind).toBe("ask");
          else expect(kind).toBe(allowed.includes(tool) ? "allow" : "deny");
        },
      ),
    );
  });
});

describe("a job's input", () => {
  it("keeps the agent version's prompt, model and tools against the caller's", () => {
    const caller = {
      task: "t",
      system_prompt: "Obey me.",
      model: "cheap",
      allowed_tools: ["erase", "read"],
    };
    expect(jobInput(version, "llm", caller)).toEqual({
      task: "t",
      system_prompt: "Be kind.",
      model: "gpt-4o",
      model_params: { temperature: 0.1 },
      // Fewer may be asked for, and none that the version does not list.
      allowed_tools: ["read"],
    });
    const { allowed_tools: _, ...open } = caller;
    expect(jobInput(version, "llm", open)["allowed_tools"]).toEqual(["read", "write", "send"]);
  });

  it("takes the caller's where the version has none", () => {
    const bare = {
      ...version,
      systemPrompt: null,
      model: null,
      allowedTools: null,
      approvalRequiredTools: [],
    };
    const caller = { task: "t", system_prompt: "Mine.", model: "cheap", allowed_tools: ["x"] };
    expect(jobInput(bare, "llm", caller)).toMatchObject(caller);
  });

  it("gives a tool step the version's tools and nothing else", () => {
    expect(jobInput(version, "tool", { tool_name: "read" })).toEqual({
      tool_name: "read",
      allowed_tools: ["read", "write", "send"],
    });
    expect(jobInput(version, "sandbox", { code: "1" })).toEqual({ code: "1" });
  });
});

describe("a budget", () => {
  const spent = { inputTokens: 0, outputTokens: 0, toolCalls: 0, wallTimeMs: 0, costMicros: 0 };

  it("takes each limit from the run, then the agent version, then the engine", () => {
    const budget = resolveBudget(readBudget({ budget: { max_tool_calls: 1, ignored: true } }), {
      max_tool_calls: 9,
      max_cost_cents: 7,
    });
    expect(budget).toEqual({
      max_input_tokens: 100_000,
      max_output_tokens: 50_000,
      max_total_tokens: 150_000,
      max_tool_calls: 1,
      max_wall_time_ms: 300_000,
      max_cost_cents: 7,
      max_cost_micros: null,
    });
  });

  it("holds at a limit and breaks just above it", () => {
    const budget = resolveBudget({}, {});
    expect(
      brokenLimit(budget, { ...spent, inputTokens: 100_000, outputTokens: 50_000 }),
    ).toBeNull();
    expect(brokenLimit(budget, { ...spent, inputTokens: 100_001 })?.message).toContain(
      "input tokens",
    );
    expect(brokenLimit(budget, { ...spent, outputTokens: 50_001 })?.message).toContain(
      "output tokens",
    );
    expect(brokenLimit(budget, { ...spent, toolCalls: 51 })?.message).toContain(
      "tool calls 51 of 50",
    );
    expect(brokenLimit(budget, { ...spent, wallTimeMs: 300_001 })?.message).toContain("wall time");
    expect(brokenLimit(budget, { ...spent, costMicros: 5_000_000 })).toBeNull();
    expect(brokenLimit(budget, { ...spent, costMicros: 5_000_001 })?.message).toContain("cost");
  });

  it("refuses limits that are no whole numbers", () => {
    expect(() => readBudget({ budget: { max_tool_calls: "many" } })).toThrow(/config\.budget/);
    expect(() => readBudget({ budget: { max_tool_calls: -1 } })).toThrow(TypeError);
    expect(readBudget(null)).toEqual({});
  });

  it("takes a limit away where it is null, and only that one [budget.null]", () => {
    const keys = [
      "max_input_tokens",
      "max_output_tokens",
      "max_total_tokens",
      "max_tool_calls",
      "max_wall_time_ms",
      "max_cost_cents",
    ] as const;
    const amounts = fc.record({
      inputTokens: fc.nat(),
      outputTokens: fc.nat(),
      toolCalls: fc.nat(),
      wallTimeMs: fc.nat(),
      costMicros: fc.nat(),
    });
    fc.assert(
      fc.property(fc.subarray([...keys]), amounts, (unlimited, used) => {
        const asked = Object.fromEntries(unlimited.map((key) => [key, null]));
        const budget = resolveBudget(readBudget({ budget: asked }), {});
        const huge = Object.fromEntries(unlimited.map((key) => [key, Number.MAX_SAFE_INTEGER]));
        expect(brokenLimit(budget, used)).toEqual(brokenLimit({ ...budget, ...huge }, used));
        if (unlimited.length === keys.length) expect(brokenLimit(budget, used)).toBeNull();
      }),
    );
  });

  it("does not count the time spent waiting for people", () => {
    const run = { status: "waiting_approval", waitingSince: null, waitedMs: 5 } as Run;
    const waiting = trackWaiting(run, 100);
    expect(waiting).toMatchObject({ waitingSince: 100, waitedMs: 5 });
    expect(trackWaiting(waiting, 200)).toBe(waiting);
    const going = trackWaiting({ ...waiting, status: "running" }, 350);
    expect(going).toMatchObject({ waitingSince: null, waitedMs: 255 });
  });
});

describe("a run's next move", () => {
  type Progress = Pick<Step, "id" | "status" | "onError" | "enqueuedAt" | "output">;
  const step = (id: string, over: Partial<Progress> = {}): Progress => ({
    id,
    status: "pending",
    onError: "fail",
    enqueuedAt: null,
    output: null,
    ...over,
  });
  const done = (id: string, output: string) =>
    step(id, { status: "completed", enqueuedAt: 1, output });

  it("enqueues the first step that is open, and waits while one is out", () => {
    expect(nextMove([done("a", "x"), step("b")])).toEqual({ kind: "enqueue", stepId: "b" });
    expect(nextMove([done("a", "x"), step("b", { enqueuedAt: 2 })])).toEqual({ kind: "wait" });
  });

  it("completes with the last completed step's output, past failures that may be passed over", () => {
    const failed = step("b", { status: "failed", onError: "continue", enqueuedAt: 1 });
    expect(nextMove([done("a", "x"), failed])).toEqual({ kind: "complete", output: "x" });
    expect(nextMove([failed])).toEqual({ kind: "complete", output: null });
  });

  it("fails at a failed step that did not say continue", () => {
    const failed = step("a", { status: "failed", enqueuedAt: 1 });
    expect(nextMove([failed, step("b")])).toEqual({ kind: "fail", stepId: "a" });
  });

  it("brings every run to its end, one step at a time, each enqueued once", () => {
    const endings = fc.array(
      fc.record({
        onError: fc.constantFrom("fail" as const, "continue" as const),
        status: fc.constantFrom(...stepStatuses.filter(isStepEnded)),
      }),
      { minLength: 1, maxLength: 12 },
    );
    fc.assert(
      fc.property(endings, (plan) => {
        let steps = plan.map(({ onError }, at) => step(String(at), { onError }));
        for (let turn = 0; turn < plan.length; turn++) {
          const move = nextMove(steps);
          if (move.kind === "fail") break;
          expect(move).toEqual({ kind: "enqueue", stepId: String(turn) });
          steps = steps.map((open, at) =>
            at === turn ? { ...open, enqueuedAt: 1, status: "running" } : open,
          );
          expect(nextMove(steps)).toEqual({ kind: "wait" });
          steps = steps.map((open, at) =>
            at === turn ? { ...open, status: plan[turn]?.status ?? "failed" } : open,
          );
        }
        expect(["complete", "fail"]).toContain(nextMove(steps).kind);
      }),
    );
  });
});

describe("a traceparent header", () => {
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  const spanId = "00f067aa0ba902b7";

  it("gives trace and span when it is valid", () => {
    expect(readTraceparent(`00-${traceId}-${spanId}-01`)).toEqual({ traceId, spanId });
    expect(readTraceparent(`cc-${traceId}-${spanId}-01-more`)).toEqual({ traceId, spanId });
  });

  it.each([
    undefined,
    "",
    `00-${traceId}-${spanId}-01-more`,
    `ff-${traceId}-${spanId}-01`,
    `00-${"0".repeat(32)}-${spanId}-01`,
    `00-${traceId}-${"0".repeat(16)}-01`,
    `00-${traceId.toUpperCase()}-${spanId}-01`,
  ])("counts as none when it is not: %s", (header) => {
    expect(readTraceparent(header)).toBeNull();
  });
});
