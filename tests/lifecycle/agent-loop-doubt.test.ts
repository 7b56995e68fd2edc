import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../actors/step/approvals.ts";
import type { RuntimeOptions } from "../../actors/options.ts";
import { ok, terminal, type Failure } from "../../machines/contracts/domain/failure.ts";
import { agentModel, agentTools, type AgentTools } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";

let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends());
});
afterEach(() => scene.close());

const allowlist = { allowed: ["read", "write"], approvalRequired: [], denied: [] };
const posting = { name: "write", arguments: { path: "order" } };
const task = { type: "llm", input: { task: "Post the order" } } as const;

/** What may have become of a tool between two sessions. */
const changes: Record<string, (tools: AgentTools) => void> = {
  "its schema changed": ({ described }) => {
    for (const tool of described) tool.digest = digestOf("another schema");
  },
  "its server is away": ({ described }) => {
    described.splice(0);
  },
  "no server can be reached": (tools) => {
    const away: Failure = { kind: "unavailable", message: "no server is up", retryable: true };
    tools.tools.list = async () => ({ ok: false, failure: away });
    tools.tools.call = async () => ({ ok: false, failure: away });
  },
  "another server has its name": ({ described }) => {
    for (const tool of described) tool.server = "elsewhere";
  },
  "it is called safe now": ({ described }) => {
    for (const tool of described) {
      tool.digest = digestOf("other annotations");
      tool.safeToRepeat = true;
    }
  },
};

describe("a call that may have run", () => {
  async function interrupted(change: (tools: AgentTools) => void, options = {}) {
    let tries = 0;
    const tools = agentTools(["write"], async () => {
      tries += 1;
      return tries === 1 ? (terminal("in_doubt", "the connection broke") as never) : "posted";
    });
    const model = agentModel([{ calls: [posting] }, { content: "Done." }]);
    const ports = { models: model.models, tools: tools.tools };
    // The control plane of this scene asks about `write` itself.
    const alone: Partial<RuntimeOptions> = { toolPolicy: "worker", ...options };
    await scene.worker({ allowlist, ...alone }, () => ports);
    const { runId, stepIds } = await scene.run([task]);
    const [question] = await scene.questions(1);
    await scene.idle();
    change(tools);
    return { tools, model, question, ended: () => scene.ended(runId, stepIds[0] ?? "") };
  }

  it.each(Object.keys(changes))(
    "and a person's no to it: both are told to the model though %s [loop.doubt]",
    async (change) => {
      const { tools, model, question, ended } = await interrupted(changes[change] as never);
      expect(question?.action_details).toBeDefined();
      expect(question?.reason).toMatch(
        /may have happened.*A yes does it again\. A no leaves it as it is/u,
      );
      // Only what is told is under test: the model is asked again by a worker that can see its servers.
      await scene.answer(question?.id ?? "", false);
      if (change === "no server can be reached") {
        tools.tools.list = async () => ok([]);
      }
      const step = await ended();
      expect(step.status).toBe("completed");
      expect(step.output).toMatchObject({
        tool_calls: [{ approval_id: question?.id, digest: question?.digest }],
      });
      expect(tools.calls).toHaveLength(1);
      expect(model.requests[1]?.messages.at(-1)).toMatchObject({
        isError: true,
        content: expect.stringMatching(/A person did not approve this call.*may have run/u),
      });
    },
  );

  it.each(["its schema changed", "its server is away", "another server has its name"])(
    "and may be repeated, is not sent to anything else where %s [loop.doubt] [loop.target]",
    async (change) => {
      const { tools, model, question, ended } = await interrupted(changes[change] as never);
      await scene.answer(question?.id ?? "", true);
      expect((await ended()).status).toBe("completed");
      expect(tools.calls).toHaveLength(1);
      expect(model.requests[1]?.messages.at(-1)).toMatchObject({ isError: true });
    },
  );

  it("is told as one that may have run, though its repetition never left [loop.doubt]", async () => {
    const { tools, model, question, ended } = await interrupted(({ tools: host }) => {
      const away: Failure = { kind: "unavailable", message: "no server is up", retryable: true };
      host.call = async () => ({ ok: false, failure: away });
    });
    await scene.answer(question?.id ?? "", true);
    expect((await ended()).status).toBe("completed");
    expect(tools.calls).toHaveLength(1);
    expect(model.requests[1]?.messages.at(-1)).toMatchObject({
      isError: true,
      content: expect.stringMatching(/no server is up; an earlier try of this call may have run/u),
    });
  });

  it("is told as one that may have run, though policy denies the next try [loop.doubt]", async () => {
    let isDenied = false;
    const policy: RuntimeOptions["policy"] = ({ kind }) =>
      isDenied && kind === "tool"
        ? { kind: "deny", reason: "not any more" }
        : { kind: "allow", reason: "fine" };
    const { tools, model, question, ended } = await interrupted(
      ({ tools: host }) => {
        const away: Failure = { kind: "unavailable", message: "no server is up", retryable: true };
        host.call = async () => {
          isDenied = true;
          return { ok: false, failure: away };
        };
      },
      { policy },
    );
    await scene.answer(question?.id ?? "", true);
    expect((await ended()).status).toBe("completed");
    expect(tools.calls).toHaveLength(1);
    expect(model.requests[1]?.messages.at(-1)).toMatchObject({
      content: expect.stringMatching(/not any more.*may have run/u),
    });
  });

  it("is made again as it was after a yes, and its approval is named [loop.doubt]", async () => {
    const { tools, question, ended } = await interrupted(() => {});
    await scene.answer(question?.id ?? "", true);
    expect(await ended()).toMatchObject({
      status: "completed",
      output: {
        tool_calls: [{ success: true, approval_id: question?.id, digest: question?.digest }],
      },
    });
    expect(tools.calls).toHaveLength(2);
  });

  it("is asked about first, and then told that policy denies it by now [loop.doubt]", async () => {
    let isDenied = false;
    const policy: RuntimeOptions["policy"] = ({ kind }) =>
      isDenied && kind === "tool"
        ? { kind: "deny", reason: "not any more" }
        : { kind: "allow", reason: "fine" };
    const { tools, model, question, ended } = await interrupted(() => {}, { policy });
    isDenied = true;
    await scene.answer(question?.id ?? "", true);
    expect((await ended()).status).toBe("completed");
    expect(tools.calls).toHaveLength(1);
    expect(model.requests[1]?.messages.at(-1)).toMatchObject({
      content: expect.stringMatching(/not any more.*may have run/u),
    });
  });
});

describe("a call that waits for a person", () => {
  it.each(["its schema changed", "its server is away", "another server has its name"])(
    "goes to the tool that the model was offered, or nowhere: %s meanwhile [loop.target]",
    async (change) => {
      const tools = agentTools(["write"]);
      const model = agentModel([
        { calls: [{ name: "write", arguments: { path: "a" } }] },
        { content: "Done." },
      ]);
      const ports = { models: model.models, tools: tools.tools };
      await scene.worker({ allowlist }, () => ports);
      const { runId, stepIds } = await scene.run([task]);
      const [question] = await scene.questions(1);
      await scene.idle();
      changes[change]?.(tools);
      await scene.answer(question?.id ?? "", true);
      const step = await scene.ended(runId, stepIds[0] ?? "");
      expect(step).toMatchObject({
        status: "completed",
        output: { tool_calls: [{ success: false, server: "files" }] },
      });
      expect(tools.calls).toEqual([]);
      expect(model.requests).toHaveLength(2);
    },
  );
});

it.each([
  ["deny", 0],
  ["allow", 1],
  ["ask", 1],
] as const)(
  "a yes is used where policy, changed meanwhile, says so: %s, and is asked for once [loop.judged]",
  async (now, made) => {
    const tools = agentTools(["write"]);
    const model = agentModel([{ calls: [posting] }, { content: "Done." }]);
    let said: "allow" | "ask" | "deny" = "ask";
    const policy: RuntimeOptions["policy"] = ({ kind }) =>
      kind === "tool" ? { kind: said, reason: `now ${said}` } : { kind: "allow", reason: "fine" };
    const ports = { models: model.models, tools: tools.tools };
    await scene.worker({ allowlist, toolPolicy: "worker", policy }, () => ports);
    const { runId, stepIds } = await scene.run([task]);
    const [question] = await scene.questions(1);
    await scene.idle();
    said = now;
    await scene.answer(question?.id ?? "", true);
    expect((await scene.ended(runId, stepIds[0] ?? "")).status).toBe("completed");
    expect(tools.calls).toHaveLength(made);
    await scene.questions(0);
  },
);

it("a loop whose calls are finished asks no server before it asks the model [loop.lazy]", async () => {
  const tools = agentTools(["read", "write"]);
  let listings = 0;
  const { list } = tools.tools;
  tools.tools.list = async (signal) => {
    listings += 1;
    return list(signal);
  };
  const model = agentModel([
    { calls: [{ name: "write", arguments: { path: "a" } }] },
    { content: "Done." },
  ]);
  await scene.worker({ allowlist }, () => ({ models: model.models, tools: tools.tools }));
  const { runId, stepIds } = await scene.run([task]);
  const [question] = await scene.questions(1);
  await scene.idle();
  expect(listings).toBe(1);
  await scene.answer(question?.id ?? "", false);
  await scene.ended(runId, stepIds[0] ?? "");
  expect(listings).toBe(2);
});
