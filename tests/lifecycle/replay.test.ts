import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { UsersHandlers } from "../../actors/handlers/handler.ts";
import { defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import { parseJob } from "../../machines/contracts/domain/job.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { ok } from "../../machines/contracts/domain/failure.ts";
import { recordingOf, type StepRecording } from "../../machines/contracts/domain/recording.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { agentTools, type Answer } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";
import {
  allowlist,
  answer,
  finished,
  reading,
  recorder,
  replayed,
  toolNames,
  writing,
} from "../support/replay-scene.ts";

let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends());
});
afterEach(() => scene.close());

const record = (options: Partial<RuntimeOptions> = {}, ports: Partial<RuntimePorts> = {}) =>
  recorder(scene, options, ports);

describe("a replay without changes", () => {
  it("walks an agent's step through the same states to the same result, and touches nothing [replay.same]", async () => {
    const { start, ended, artifacts, touched } = await record();
    const step = await start([
      { calls: [reading("a"), reading("b")] },
      { calls: [writing("w"), { name: "erase", arguments: {} }, writing("no")] },
      finished,
    ]);
    const open = await scene.questions(2);
    for (const { id, action_details: asked } of open) {
      await scene.answer(id, JSON.stringify(asked).includes('"path":"w"'));
    }
    const { view, recording } = await ended(step);
    const before = touched();
    const again = await replayed(recording, artifacts);
    expect(again.differences).toEqual([]);
    expect(again).toMatchObject({ stoppedBecause: null, forkedAt: null, made: 0, refused: 0 });
    expect(again.result).toMatchObject({ status: "completed", output: view.output });
    expect(again.effects.toSorted()).toEqual([
      "model#0.1 served",
      "model#0.2 served",
      "model#0.3 served",
      "tool#0.1.1 served",
      "tool#0.1.2 served",
      "tool#0.2.1 served",
      "tool#0.2.2 served",
      "tool#0.2.3 served",
    ]);
    expect(again.states).toContain("awaiting-approval");
    expect(touched()).toEqual(before);
  });

  it("comes out as any agent's step did, whatever its model asked for [replay.same]", async () => {
    const { start, ended, artifacts, touched } = await record({
      limits: { ...defaultOptions.limits, maxRepairs: 1 },
    });
    const call = fc.record({
      name: fc.constantFrom("read", "erase", "nowhere"),
      arguments: fc.oneof(
        fc.record({ path: fc.constantFrom("a", "b") }),
        fc.record({ path: fc.constant(7) }),
        fc.constant(null),
      ),
    });
    const turn = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ calls: fc.array(call, { minLength: 1, maxLength: 3 }) }),
      },
      fc.record({ content: fc.constantFrom("{}", "not JSON", '{"ok":true}') }),
      fc.constant({ finishReason: "length" as const, content: "cut" }),
    );
    const schema = { type: "object", required: ["ok"] };
    const property = fc.asyncProperty(
      fc.array(turn, { maxLength: 5 }),
      fc.boolean(),
      async (answers, isStrict) => {
        const input = isStrict ? { output_schema: schema, max_iterations: 3 } : {};
        const { view, recording } = await ended(await start(answers as Answer[], input));
        const before = touched();
        const again = await replayed(recording, artifacts);
        expect(again.differences).toEqual([]);
        expect(again.result?.status).toBe(view.status);
        expect([again.made, again.refused, touched()]).toEqual([0, 0, before]);
      },
    );
    await fc.assert(property, { numRuns: 15 });
  });

  it("stops where the recording of a step that waits for a person ends, and says so [replay.ends]", async () => {
    const { start, artifacts, touched } = await record();
    const { runId, stepId } = await start([{ calls: [writing("w")] }]);
    await scene.questions(1);
    await scene.idle();
    const kept = await scene.backend.store.find({ runId, stepId });
    const recording = recordingOf(kept as never) as StepRecording;
    const before = touched();
    const again = await replayed(recording, artifacts);
    expect(again).toMatchObject({ result: null, effects: ["model#0.1 served"] });
    expect(again.stoppedBecause).toContain("waits for a person");
    expect(again.states.at(-1)).toBe("awaiting-approval");
    expect(touched()).toEqual(before);
  });

  it("replays a dead letter from what it kept, without a worker that keeps journals [replay.ends]", async () => {
    const worker = await scene.worker({ allowlist, maxDeliveries: 1 }, () => ({
      tools: agentTools(toolNames).tools,
    }));
    const { runId, stepIds } = await scene.run([
      { type: "tool", input: { tool_name: "read", tool_input: { path: "a" } } },
    ]);
    const stepId = stepIds[0] ?? "";
    await scene.ended(runId, stepId);
    // As it stands there when a worker died in the middle of its second model call.
    const job = { ...jobOf(runId, stepId), stepType: "llm" as const, input: { task: "Tidy" } };
    const reply = {
      provider: "test",
      model: "m",
      content: "",
      toolCalls: [{ id: "c", name: "read", arguments: { path: "a" } }],
      finishReason: "tool_calls",
      usage: { inputTokens: 1, outputTokens: 1 },
    };
    const targets = [{ server: "files", name: "read", digest: "d", isSafe: true }];
    const journal = [
      {
        event: "completed",
        effect: "model#0.1",
        at: 1,
        result: { value: { reply, targets, mayCall: true } },
      },
    ];
    const recording = recordingOf({
      runId,
      stepId,
      job,
      journal,
      snapshot: null,
      stateHistory: [],
      result: null,
    }) as StepRecording;
    const again = await replayed(recording, worker.ports.artifacts);
    expect(again.effects).toEqual(["model#0.1 served"]);
    expect(again.stoppedBecause).toBe("the recording has nothing of the effect tool#0.1.1");
  });

  it.each([
    ["a read-only tool", { tool_name: "read", tool_input: { path: "a" } }, "completed"],
    ["a tool that is denied", { tool_name: "erase", tool_input: {} }, "failed"],
    ["a tool that nobody has", { tool_name: "nowhere", tool_input: {} }, "failed"],
  ])("replays a step of %s [replay.same]", async (_, input, status) => {
    const { ended, artifacts, touched } = await record();
    const { runId, stepIds } = await scene.run([{ type: "tool", input }]);
    const { view, recording } = await ended({ runId, stepId: stepIds[0] ?? "" });
    expect(view.status).toBe(status);
    const before = touched();
    const again = await replayed(recording, artifacts);
    expect(again.differences).toEqual([]);
    expect(again.result?.status).toBe(status);
    expect(touched()).toEqual(before);
  });

  it.each(["llm", "tool"] as const)(
    "serves what a handler of the user's did in a step of type %s [replay.same]",
    async (type) => {
      let charged = 0;
      const handlers: UsersHandlers = {
        "tool:write": async ({ permission, effect, job }) => {
          const input = job.input["tool_input"] as JsonObject;
          const may = await permission({ kind: "tool", name: "write", input });
          if (!may.allowed) return may.result;
          const done = await effect<string>({
            name: "charge",
            input,
            repeat: "unsafe",
            action: may.action,
            ...(may.grant === null ? {} : { grant: may.grant }),
            run: async () => ok(`charged ${(charged += 1)}`),
          });
          return done.ok ? { kind: "done", output: done.value } : done.result;
        },
      };
      const { start, ended, artifacts } = await record({ handlers });
      const toolStep = async () => {
        const { runId, stepIds } = await scene.run([
          { type: "tool", input: { tool_name: "write", tool_input: { path: "w" } } },
        ]);
        return { runId, stepId: stepIds[0] ?? "" };
      };
      const step =
        type === "llm" ? await start([{ calls: [writing("w")] }, finished]) : await toolStep();
      await answer(scene, true);
      const { view, recording } = await ended(step);
      const options = { ...defaultOptions, handlers };
      const again = await replayed(recording, artifacts, { options });
      expect(again.differences).toEqual([]);
      expect(again.result).toMatchObject({ status: "completed", output: view.output });
      expect(charged).toBe(1);
    },
  );

  it("serves searches and code as they came out [replay.same]", async () => {
    const run = {
      exitCode: 0,
      timedOut: false,
      killed: false,
      stdout: "4\n",
      stderr: "",
      truncated: false,
      leftOutBytes: 0,
      durationMs: 3,
    };
    let runs = 0;
    const sandbox = {
      driver: "bubblewrap",
      run: async () => ((runs += 1), { ok: true as const, value: run }),
    };
    const { ended, artifacts } = await record({}, { sandbox });
    const { runId, stepIds } = await scene.run([
      { type: "sandbox", input: { code: "print(2 + 2)" } },
      { type: "retrieval", input: { query: "cat", documents: [{ content: "a cat" }] } },
    ]);
    for (const stepId of stepIds) {
      const { view, recording } = await ended({ runId, stepId });
      const again = await replayed(recording, artifacts);
      expect(again.differences).toEqual([]);
      expect(again.result).toMatchObject({ status: "completed", output: view.output });
    }
    expect(runs).toBe(1);
  });

  it("names what went in otherwise than when it was recorded [replay.named]", async () => {
    const { start, ended, artifacts } = await record();
    const { recording } = await ended(
      await start([{ calls: [reading("a")] }, finished], { system_prompt: "Be brief." }),
    );
    const job = { ...recording.job, input: { ...recording.job.input, system_prompt: "Be long." } };
    const again = await replayed({ ...recording, job }, artifacts);
    expect(again.differences).toEqual([
      "what went into model#0.1 differs: system",
      "what went into model#0.2 differs: system",
    ]);
  });
});

const jobOf = (runId: string, stepId: string) => {
  const parsed = parseJob({ run_id: runId, step_id: stepId, step_type: "tool" });
  if (!parsed.valid) throw new Error(parsed.invalid.failure.message);
  return parsed.job;
};
