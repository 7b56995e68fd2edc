import { afterEach, beforeEach, expect, it } from "vitest";
import { createFallbacks } from "../../adapters/llm/fallbacks.ts";
import { createPricedModels } from "../../adapters/llm/priced-models.ts";
import { createPrices } from "../../adapters/llm/prices.ts";
import { ok, terminal } from "../../machines/contracts/domain/failure.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import { agentModel, agentTools } from "../support/agent-world.ts";
import { unmarked } from "../support/unmarked.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";

let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends());
});
afterEach(() => scene.close());

const silent = { warn() {} };

/** An agent that reads six long files and answers; how many of the results its last request still showed whole. */
async function shownAtLast(contextWindow: number | null): Promise<number> {
  const model = agentModel((_, turn) =>
    turn < 6
      ? { calls: [{ arguments: { path: `${turn}` } }], usage: { inputTokens: 0, outputTokens: 0 } }
      : { content: "Done." },
  );
  const named: ModelProvider = {
    ...model.models,
    targets: (name) => ok([{ provider: "own", model: name }]),
  };
  const window = contextWindow === null ? {} : { contextWindow };
  const prices = createPrices({ providers: { own: window } });
  const models = createFallbacks(
    createPricedModels(named, { prices, strict: false, log: silent }),
    {},
  );
  const tools = agentTools(["read"], async () => "x".repeat(3_000));
  const allowlist = { allowed: ["read"], approvalRequired: [], denied: [] };
  const worker = await scene.worker({ allowlist }, () => ({ models, tools: tools.tools }));
  const { runId, stepIds } = await scene.run([
    { type: "llm", input: { task: "Read all", max_tokens: 100 } },
  ]);
  const ended = await scene.ended(runId, stepIds[0] ?? "");
  expect(ended).toMatchObject({ status: "completed", output: { response: "Done." } });
  await worker.close();
  const last = model.requests.at(-1)?.messages ?? [];
  return last.filter(({ role, content }) => role === "tool" && content.length >= 3_000).length;
}

it("one turn's results that are together longer than the window are cut so that they fit, and the output says so [loop.window]", async () => {
  const paths = ["0", "1", "2", "3"];
  const model = agentModel(({ messages }, turn) => {
    const characters = JSON.stringify(messages).length;
    if (characters > 12_000) return terminal("too_large", "the conversation is too long");
    return turn === 0
      ? { calls: paths.map((path) => ({ arguments: { path } })) }
      : { content: "Done." };
  });
  const tools = agentTools(["read"], async (_, { path }) =>
    `${path}`.repeat(path === "3" ? 300 : 9_000),
  );
  const allowlist = { allowed: ["read"], approvalRequired: [], denied: [] };
  await scene.worker({ allowlist }, () => ({ models: model.models, tools: tools.tools }));
  const { runId, stepIds } = await scene.run([{ type: "llm", input: { task: "Read all" } }]);
  expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({
    status: "completed",
    output: { response: "Done.", cut_results: 3 },
  });
  const shown = model.requests.at(-1)?.messages.filter(({ role }) => role === "tool") ?? [];
  for (const [at, { content: given }] of shown.entries()) {
    const content = unmarked(given);
    if (at === 3) expect(content).toBe("3".repeat(300));
    else
      expect(content).toMatch(
        /^(\d)\1+\n\[\d+ characters are left out here to make room;.*\]\n\1+$/u,
      );
  }
});

it("what a model used before it refused the conversation for its length is in the output, and nothing else too large is asked again [loop.window-used]", async () => {
  const spent = { inputTokens: 1_000, outputTokens: 50, costMicros: 300 };
  const allowlist = { allowed: ["read"], approvalRequired: [], denied: [] };
  const tools = agentTools(["read"], async () => "x".repeat(9_000));
  const models = { of: agentModel([]) };
  await scene.worker({ allowlist }, () => ({
    models: { complete: (...args) => models.of.models.complete(...args) },
    tools: tools.tools,
  }));
  const run = async (reason: string) => {
    models.of = agentModel(({ messages }, turn) => {
      if (turn === 0) return { calls: [{ arguments: { path: "a" } }] };
      const isLong = JSON.stringify(messages).length > 6_000;
      const details = { reason, provider: "test", usage: spent };
      return isLong ? terminal("too_large", "too long", details) : { content: "Done." };
    });
    const { runId, stepIds } = await scene.run([{ type: "llm", input: { task: "Read all" } }]);
    return scene.ended(runId, stepIds[0] ?? "");
  };
  expect(await run("context_too_long")).toMatchObject({
    status: "completed",
    output: { usage: { inputTokens: 1_020, outputTokens: 60, costMicros: 314 }, cost_micros: 314 },
    cost_micros: 314,
  });
  expect(models.of.requests).toHaveLength(3);
  expect(await run("bad_answer")).toMatchObject({
    status: "failed",
    error: { kind: "too_large" },
    output: { usage: { inputTokens: 1_010, outputTokens: 55, costMicros: 307 } },
  });
  expect(models.of.requests).toHaveLength(2);
});

it("an agent's conversation is folded by its model's window, not by another one's [llm.window]", async () => {
  expect(await shownAtLast(null)).toBe(6);
  expect(await shownAtLast(200_000)).toBe(6);
  const small = await shownAtLast(4_000);
  expect(small).toBeLessThan(5);
  expect(small).toBeGreaterThan(0);
});
