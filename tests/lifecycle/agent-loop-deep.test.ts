import { afterEach, beforeEach, expect, it } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { agentTools } from "../support/agent-world.ts";
import { answerJson } from "../support/answer-json.ts";
import { sqliteBackends } from "../support/backends.ts";
import { chatCompletion } from "../support/chat-completion.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";
import type { PlannedStep } from "../../adapters/control-plane/api.ts";
import { useVendors } from "../support/vendor-server.ts";

const { vendor } = useVendors();
let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends(), ["read", "move"]);
});
afterEach(() => scene.close());

/** An object with so many levels. */
const nested = (levels: number): object =>
  Array.from({ length: levels - 1 }).reduce<object>((inner) => ({ a: inner }), {});

it.each([
  [60, "text", "runs"],
  [61, "text", "is told to the model"],
  [100, "text", "is told to the model"],
  [60, "object", "runs"],
  [61, "object", "is told to the model"],
  [80, "object", "is told to the model"],
] as const)(
  "a call whose arguments are nested %d levels deep, as %s, %s, and the step goes on [loop.deep]",
  async (levels, form, what) => {
    const given = form === "text" ? JSON.stringify(nested(levels)) : nested(levels);
    const call = { id: "call_1", type: "function", function: { name: "read", arguments: given } };
    const { models, seen } = await vendor((response) =>
      seen.length === 1
        ? answerJson(chatCompletion({ tool_calls: [call] }, "tool_calls"))(response)
        : answerJson(chatCompletion({ content: "Done." }, "stop"))(response),
    );
    const { tools, calls } = agentTools(["read"]);
    const allowlist = { allowed: ["read"], approvalRequired: [], denied: [] };
    await scene.worker({ allowlist }, () => ({ models, tools }));
    const input = { task: "Tidy the files" };
    const { runId, stepIds } = await scene.run([{ type: "llm", input }]);
    const ended = await scene.ended(runId, stepIds[0] ?? "");
    expect(ended).toMatchObject({ status: "completed", output: { response: "Done." } });
    expect(calls).toHaveLength(what === "runs" ? 1 : 0);
    const told = JSON.stringify(seen[1]?.body["messages"]);
    expect(told.includes("nested deeper than 60 levels")).toBe(what !== "runs");
  },
);

it.each([
  [60, "completed"],
  [150, "too deep"],
  [950, "too deep"],
  [20_000, "too deep"],
] as const)(
  "a tool's result that is nested %d levels deep is %s, whoever called it, and is never in doubt [loop.deep]",
  async (levels, what) => {
    const made = { id: "call_1", type: "function", function: { name: "move", arguments: {} } };
    const { models, seen } = await vendor((response) =>
      seen.length === 1
        ? answerJson(chatCompletion({ tool_calls: [made] }, "tool_calls"))(response)
        : answerJson(chatCompletion({ content: "Done." }, "stop"))(response),
    );
    const { tools, calls } = agentTools(["move"], async () => nested(levels) as JsonObject);
    const allowlist = { allowed: ["move"], approvalRequired: [], denied: [] };
    await scene.worker({ allowlist }, () => ({ models, tools }));
    const run = async (step: PlannedStep) => {
      const { runId, stepIds } = await scene.run([step]);
      return scene.ended(runId, stepIds[0] ?? "");
    };
    const byLoop = await run({ type: "llm", input: { task: "Tidy the files" } });
    const byStep = await run({ type: "tool", input: { tool_name: "move", tool_input: {} } });
    expect(calls).toHaveLength(2);
    expect(byLoop).toMatchObject({ status: "completed", output: { response: "Done." } });
    const told = JSON.stringify(seen[1]?.body["messages"]);
    expect(told.includes("deeper than 900 levels")).toBe(levels > 900);
    if (what === "completed") expect(byStep).toMatchObject({ status: "completed" });
    else {
      const error = { kind: "invalid_output", message: expect.stringContaining("deeper than") };
      expect(byStep).toMatchObject({ status: "failed", error });
    }
  },
);
