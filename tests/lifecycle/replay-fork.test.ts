import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { terminal } from "../../machines/contracts/domain/failure.ts";
import { agentModel } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";
import {
  allowlist,
  answer,
  finished,
  reading,
  recorder,
  replayed,
  writing,
} from "../support/replay-scene.ts";

let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends());
});
afterEach(() => scene.close());

describe("a replay that goes its own way", () => {
  const recorded = async () => {
    const world = await recorder(scene);
    const step = await world.start([
      { calls: [reading("a")] },
      { calls: [writing("w")] },
      finished,
    ]);
    await answer(scene, true);
    return { ...world, ...(await world.ended(step)) };
  };

  it("asks another model, serves it the recorded calls, and refuses what was never recorded [replay.fork]", async () => {
    const { recording, artifacts, tools } = await recorded();
    const calls = tools.calls.length;
    const other = agentModel([
      { calls: [reading("a"), reading("z")] },
      { calls: [writing("w")] },
      { calls: [writing("w")] },
      { content: "Otherwise." },
    ]);
    const again = await replayed(recording, artifacts, {
      isChanged: true,
      changes: { model: "other/one" },
      models: other.models,
      tools: tools.tools,
    });
    expect(other.requests.map(({ model }) => model)).toEqual(Array(4).fill("other/one"));
    expect(again.effects).toEqual([
      "model#0.1 made",
      "tool#0.1.1 served",
      "tool#0.1.2 refused",
      "model#0.2 made",
      "tool#0.2.1 served",
      "model#0.3 made",
      // It was asked about once, and nobody is asked by a replay.
      "tool#0.3.1 not made",
      "model#0.4 made",
    ]);
    expect(again).toMatchObject({ forkedAt: 1, result: { status: "completed" }, refused: 1 });
    expect(tools.calls).toHaveLength(calls);
    expect(other.requests[1]?.messages.at(-1)).toMatchObject({
      content: expect.stringContaining("never recorded"),
    });
  });

  it("is served up to the effect that it is told, and asked from there on [replay.fork]", async () => {
    const { recording, artifacts, model } = await recorded();
    const asked = model.requests.length;
    const other = agentModel(() => ({ content: "Enough." }));
    const again = await replayed(recording, artifacts, {
      isChanged: true,
      forkAt: 3,
      models: other.models,
    });
    expect(again.effects).toEqual(["model#0.1 served", "tool#0.1.1 served", "model#0.2 made"]);
    expect(again.result).toMatchObject({ output: { response: "Enough." } });
    expect(model.requests).toHaveLength(asked);
  });

  it("really makes new calls of safe tools where that is allowed, and others only live [replay.fork]", async () => {
    const { recording, artifacts, tools } = await recorded();
    const known = tools.calls.length;
    const script = [{ calls: [reading("z"), writing("x")] }, finished];
    const ask = (newCalls: "safe" | "all") =>
      replayed(recording, artifacts, {
        isChanged: true,
        forkAt: 1,
        newCalls,
        models: agentModel(script).models,
        tools: tools.tools,
        newPolicy: { allowlist },
      });
    expect((await ask("safe")).effects.slice(1, 3)).toEqual([
      "tool#0.1.1 made",
      "tool#0.1.2 refused",
    ]);
    expect(tools.calls.slice(known).map(({ name }) => name)).toEqual(["read"]);
    expect((await ask("all")).effects.slice(1, 3)).toEqual(["tool#0.1.1 made", "tool#0.1.2 made"]);
    expect(tools.calls.slice(known + 1).map(({ name }) => name)).toEqual(["read", "write"]);
  });

  it("judges calls that may really be made by the lists of now, and asks nobody [replay.fork]", async () => {
    const { recording, artifacts, tools } = await recorded();
    const known = tools.calls.length;
    const again = await replayed(recording, artifacts, {
      isChanged: true,
      forkAt: 1,
      newCalls: "all",
      models: agentModel([{ calls: [writing("x"), reading("z")] }, finished]).models,
      tools: tools.tools,
      newPolicy: { allowlist: { allowed: ["write"], approvalRequired: ["write"], denied: [] } },
    });
    const made = again.effects.slice(1, 3).toSorted();
    expect(made).toEqual(["tool#0.1.1 not made", "tool#0.1.2 not made"]);
    expect(tools.calls).toHaveLength(known);
  });

  it("goes by another policy from the call that it judges otherwise [replay.fork]", async () => {
    const { recording, artifacts, tools } = await recorded();
    const known = tools.calls.length;
    const other = agentModel(() => ({ content: "Not allowed, then." }));
    const again = await replayed(recording, artifacts, {
      isChanged: true,
      models: other.models,
      policy: { allowlist: { allowed: ["read"], approvalRequired: [], denied: ["write"] } },
    });
    expect(again.effects).toEqual([
      "model#0.1 served",
      "tool#0.1.1 served",
      "model#0.2 served",
      "tool#0.2.1 not made",
      "model#0.3 made",
    ]);
    expect(other.requests[0]?.messages.at(-1)).toMatchObject({
      content: expect.stringContaining("not allowed"),
    });
    expect(tools.calls).toHaveLength(known);
  });

  it("fails as its model does [replay.fork]", async () => {
    const { recording, artifacts } = await recorded();
    const other = agentModel(() => terminal("model_failed", "no such model"));
    const again = await replayed(recording, artifacts, {
      isChanged: true,
      forkAt: 1,
      models: other.models,
    });
    expect(again.result).toMatchObject({ status: "failed", failure: { kind: "model_failed" } });
  });
});
