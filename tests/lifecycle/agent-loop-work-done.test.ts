import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import { agentModel, agentTools } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";

let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends());
});
afterEach(() => scene.close());

const allowlist = { allowed: ["read"], approvalRequired: [], denied: [] };
/** A tool of which nobody promises that it may be called twice. */
function unsafeTools(run?: Parameters<typeof agentTools>[1]) {
  const tools = agentTools(["read"], run);
  for (const tool of tools.described) tool.safeToRepeat = false;
  return tools;
}

const call = (name: string, path: string) => ({ name, arguments: { path } });

async function start(
  models: ModelProvider,
  tools: ReturnType<typeof agentTools>,
  options: Partial<RuntimeOptions>,
) {
  await scene.worker({ allowlist, ...options }, () => ({ models, tools: tools.tools }));
  return scene.run([{ type: "llm", input: { task: "Tidy the files" } }]);
}

describe("a failed agent step says what its calls did", () => {
  it("when its deadline passes while the model is asked, and what its answers used [loop.work-done]", async () => {
    const tools = unsafeTools();
    const { models, requests } = agentModel((_, turn) => ({ calls: [call("read", `${turn}`)] }));
    const slow: ModelProvider = {
      complete: (request, signal, onPart) =>
        requests.length < 2
          ? models.complete(request, signal, onPart)
          : new Promise((_, reject) => {
              signal.addEventListener("abort", () => reject(signal.reason as Error));
            }),
    };
    const deadlines = { ...defaultOptions.deadlines, executingMs: 10_000 };
    const { runId, stepIds } = await start(slow, tools, { deadlines });
    const step = await scene.ended(runId, stepIds[0] ?? "");
    expect(tools.calls).toHaveLength(2);
    expect(step).toMatchObject({
      status: "failed",
      error: { kind: "timeout" },
      output: {
        status: "failed",
        iterations: 2,
        usage: { inputTokens: 20, outputTokens: 10, costMicros: 14 },
        tool_calls: [
          { tool_name: "read", arguments: { path: "0" }, success: true },
          { tool_name: "read", arguments: { path: "1" }, success: true },
        ],
      },
    });
  });

  it("when its deadline passes while a call is under way, which may have run [loop.work-done]", async () => {
    const tools = unsafeTools(async (_, { path }) =>
      path === "b" ? new Promise(() => {}) : "sent",
    );
    const calls = [call("read", "a"), call("read", "b"), call("read", "c")];
    const deadlines = { ...defaultOptions.deadlines, executingMs: 10_000 };
    const { models } = agentModel([{ calls }]);
    const { runId, stepIds } = await start(models, tools, { deadlines });
    const step = await scene.ended(runId, stepIds[0] ?? "");
    expect(step).toMatchObject({
      error: { kind: "timeout" },
      output: {
        tool_calls: [
          { arguments: { path: "a" }, success: true },
          { arguments: { path: "b" }, success: false, error: expect.stringContaining("may have") },
        ],
      },
    });
  });

  it("when a budget ends it in the middle of a turn [loop.work-done]", async () => {
    const tools = unsafeTools();
    const calls = [call("read", "a"), call("read", "b"), call("read", "c")];
    const { models } = agentModel([{ calls }]);
    await scene.worker({ allowlist }, () => ({ models, tools: tools.tools }));
    const config = { budget: { max_tool_calls: 1 } };
    const { runId, stepId } = await scene.plane.createRun({ task: "Tidy the files" }, config);
    const step = await scene.ended(runId, stepId);
    expect(tools.calls).toHaveLength(1);
    expect(step).toMatchObject({
      status: "failed",
      error: { kind: "budget_exceeded" },
      output: {
        status: "budget_exceeded",
        tool_calls: [{ tool_name: "read", arguments: { path: "a" }, success: true }],
      },
    });
  });
});

it("a cap that was lowered while a step waited holds from the first new answer on [loop.cap-changed]", async () => {
  const tools = agentTools(["read", "write"]);
  const { models, requests } = agentModel(({ toolChoice }, turn) => {
    if (toolChoice === "none") return { content: "So far." };
    const more = turn < 2 ? [] : [call("write", "w")];
    return { calls: [call("read", `${turn}`), ...more] };
  });
  const judged = { allowlist: { allowed: ["read"], approvalRequired: ["write"], denied: [] } };
  const ports = { models, tools: tools.tools };
  const first = await scene.worker({ ...judged, maxIterations: 25 }, () => ports);
  const { runId, stepIds } = await scene.run([{ type: "llm", input: { task: "Tidy" } }]);
  const [question] = await scene.questions(1);
  await scene.idle();
  await first.close();
  await scene.worker({ ...judged, maxIterations: 2 }, () => ports);
  expect(await scene.answer(question?.id ?? "", true)).toBe("taken");
  const step = await scene.ended(runId, stepIds[0] ?? "");
  expect(tools.calls.map(({ name }) => name)).toEqual(["read", "read", "read", "write"]);
  expect(requests).toHaveLength(4);
  const names = ["read", "read", "read", "write"].map((tool_name) => ({
    tool_name,
    success: true,
  }));
  expect(step).toMatchObject({
    status: "failed",
    error: { kind: "incomplete" },
    output: { status: "max_iterations", response: "So far.", iterations: 4, tool_calls: names },
  });
});
