import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RuntimeOptions } from "../../actors/options.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { agentModel, agentTools, type Answer } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";
import { keptRecording, replayed } from "../support/replay-scene.ts";

let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends());
});
afterEach(() => scene.close());

const allowlist = { allowed: ["read", "write", "post"], approvalRequired: [], denied: ["erase"] };

const reading = (path: string) => ({ name: "read", arguments: { path } });
const writing = (path: string) => ({ name: "write", arguments: { path } });
const finished: Answer = { content: "All tidy." };

/** An agent's step, run to its end by a worker that keeps journals, with a person who answers as said. */
async function record(
  answers: Answer[],
  input: JsonObject = {},
  options: Partial<RuntimeOptions> = {},
  approves: boolean[] = [],
) {
  const model = agentModel(answers);
  const tools = agentTools(["read", "write", "erase"]);
  const ports = { models: model.models, tools: tools.tools };
  const worker = await scene.worker({ allowlist, keepJournals: true, ...options }, () => ports);
  const step = { type: "llm", input: { task: "Tidy the files", ...input } } as const;
  const { runId, stepIds } = await scene.run([step]);
  const stepId = stepIds[0] ?? "";
  for (const yes of approves) {
    const [question] = await scene.questions(1);
    await scene.answer(question?.id ?? "", yes);
  }
  const view = await scene.ended(runId, stepId);
  await scene.idle();
  const { artifacts } = worker.ports;
  return {
    view,
    model,
    tools,
    artifacts,
    recording: await keptRecording(artifacts, runId, stepId),
  };
}

describe("a replay without changes", () => {
  it("walks an agent's step through the same states to the same result, and touches nothing [replay.same]", async () => {
    const { view, artifacts, recording, model, tools } = await record(
      [
        { calls: [reading("a"), reading("b")] },
        { calls: [writing("w"), { name: "erase", arguments: {} }] },
        finished,
      ],
      {},
      {},
      [true],
    );
    const asked = model.requests.length;
    const called = tools.calls.length;
    const again = await replayed(recording, artifacts);
    expect(again.differences).toEqual([]);
    expect(again).toMatchObject({ stoppedBecause: null, forkedAt: null, made: 0, refused: 0 });
    expect(again.result).toMatchObject({ status: "completed", output: view.output });
    expect(again.effects).toEqual([
      "model#0.1 served",
      "tool#0.1.1 served",
      "tool#0.1.2 served",
      "model#0.2 served",
      "tool#0.2.1 served",
      "model#0.3 served",
    ]);
    expect(again.states).toContain("awaiting-approval");
    expect([model.requests.length, tools.calls.length]).toEqual([asked, called]);
  });
});
