import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RuntimeOptions } from "../../actors/options.ts";
import { terminal } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { FinishReason } from "../../machines/contracts/ports/model-provider.ts";
import { agentModel, agentTools, type Answer } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";

let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends());
});
afterEach(() => scene.close());

const allowlist = { allowed: ["read"], approvalRequired: [], denied: [] };

async function run(
  model: ReturnType<typeof agentModel>,
  input: JsonObject = {},
  tools = agentTools(["read"]),
  options: Partial<RuntimeOptions> = {},
) {
  const ports = { models: model.models, tools: tools.tools };
  await scene.worker({ allowlist, ...options }, () => ports);
  const step = { type: "llm", input: { task: "Tidy the files", ...input } } as const;
  const { runId, stepIds } = await scene.run([step]);
  return scene.ended(runId, stepIds[0] ?? "");
}

const reading = (path: string) => ({ name: "read", arguments: { path } });
const unfinished: FinishReason[] = ["length", "other", "tool_calls"];

describe("a message that the model itself did not end", () => {
  it.each(unfinished)(
    "is no answer: %s fails the step, or is what there is of one where the step asks for that [loop.whole]",
    async (finishReason) => {
      const cut: Answer = { content: "The first half of", finishReason };
      const failed = await run(agentModel([cut]));
      expect(failed).toMatchObject({
        status: "failed",
        error: { kind: "incomplete", details: { finish_reason: finishReason } },
        output: { status: "cut_off", response: "The first half of" },
      });
      const partial = await run(agentModel([cut]), { on_incomplete: "partial" });
      expect(partial).toMatchObject({
        status: "completed",
        output: { status: "cut_off", finish_reason: finishReason },
      });
    },
  );

  it.each(["length", "other", "stop", "tool_calls"] as const)(
    "has no call of it made: of %s [loop.whole]",
    async (finishReason) => {
      const tools = agentTools(["read"]);
      const model = agentModel([
        { calls: [reading("a")], finishReason },
        { content: "Done.", finishReason: "stop" },
      ]);
      const step = await run(model, {}, tools);
      const isWhole = finishReason === "stop" || finishReason === "tool_calls";
      expect(tools.calls).toHaveLength(isWhole ? 1 : 0);
      expect(model.requests[1]?.messages.at(-1)).toMatchObject(isWhole ? {} : { isError: true });
      expect(step.status).toBe("completed");
    },
  );

  it("gives no part of it for the whole where JSON is asked for [output.cut]", async () => {
    const output_schema = { type: "object" };
    const model = agentModel([
      { content: '{"orders":[{"id":1},{"id":2}', finishReason: "length" },
      { content: '{"orders":[{"id":1}]}' },
    ]);
    const step = await run(model, { output_schema, on_incomplete: "partial" });
    expect(step).toMatchObject({
      status: "completed",
      output: { data: { orders: [{ id: 1 }] }, status: "completed" },
    });
    expect(model.requests).toHaveLength(2);
  });
});

describe("at its cap", () => {
  it("a step counts every round of repairs together [loop.caps]", async () => {
    const model = agentModel(({ toolChoice, messages }) => {
      if (toolChoice === "none") return { content: '{"word":"yes"}' };
      const isMending = messages.at(-1)?.role === "user" && messages.length > 2;
      if (isMending) return { calls: [reading(String(messages.length))] };
      const turns = messages.filter(({ role }) => role === "assistant").length;
      return turns < 2 ? { calls: [reading(String(turns))] } : { content: "no json" };
    });
    const output_schema = { type: "object", required: ["word"] };
    const tools = agentTools(["read"]);
    const step = await run(model, { output_schema, max_iterations: 3 }, tools);
    expect(model.requests.filter(({ toolChoice }) => toolChoice !== "none")).toHaveLength(3);
    expect(tools.calls).toHaveLength(2);
    expect(step).toMatchObject({ status: "completed", output: { data: { word: "yes" } } });
  });

  it.each(["failure", "refusal", "budget"] as const)(
    "says what kept it from its last answer, and counts what that used: %s [loop.ends]",
    async (how) => {
      const usage = { inputTokens: 100, outputTokens: 1, costMicros: 50 };
      const model = agentModel(({ toolChoice }, turn) => {
        if (toolChoice !== "none") return { calls: [reading(String(turn))] };
        return how === "refusal"
          ? { content: "I will not.", finishReason: "refusal" }
          : terminal("model_failed", "the provider broke", {
              reason: "bad_answer",
              usage,
            } as never);
      });
      const budget = how === "budget" ? { budget: { max_output_tokens: 14 } } : {};
      const failed = await run(model, { max_iterations: 2, max_tokens: 5, ...budget });
      const kind = how === "budget" ? "budget_exceeded" : "model_failed";
      expect(failed).toMatchObject({ status: "failed", output: { response: "", cause: { kind } } });
      if (how !== "budget")
        expect(failed).toMatchObject({ error: { details: { cause: { kind } } } });
      if (how === "failure") expect(failed).toMatchObject({ input_tokens: 120 });
    },
  );

  it("of the calls of one reply, the rest goes back to the model as errors [loop.reply-cap]", async () => {
    const tools = agentTools(["read"]);
    const calls = Array.from({ length: 60 }, (_, at) => reading(String(at)));
    const model = agentModel([{ calls }, { content: "Done." }]);
    const step = await run(model, {}, tools);
    expect(tools.calls).toHaveLength(32);
    const results = model.requests[1]?.messages.filter(({ role }) => role === "tool") ?? [];
    expect(results).toHaveLength(60);
    expect(results.slice(32).every((each) => "isError" in each)).toBe(true);
    expect(step.status).toBe("completed");
  });

  it("a last reply that calls all the same is shown to no provider with calls that have no results [loop.ends]", async () => {
    const echo = { provider: "test", items: [{ type: "tool_use", id: "call_1_0" }] };
    const model = agentModel(({ toolChoice, messages }) => {
      const isMending = String(messages.at(-1)?.content).includes("not accepted");
      if (isMending) return { content: '{"word":"yes"}' };
      return toolChoice === "none"
        ? { content: "no json", calls: [reading("late")], echo }
        : { calls: [reading("a")] };
    });
    const output_schema = { type: "object", required: ["word"] };
    const input = { output_schema, max_iterations: 1, on_incomplete: "partial" };
    const step = await run(model, input);
    const shown = model.requests.at(-1)?.messages.find(({ content }) => content === "no json");
    expect(shown).toEqual({ role: "assistant", content: "no json" });
    expect(step).toMatchObject({ status: "completed", output: { status: "max_iterations" } });
  });
});
