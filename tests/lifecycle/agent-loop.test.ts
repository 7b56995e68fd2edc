import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RuntimeOptions } from "../../actors/options.ts";
import { retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { agentModel, agentTools, type Answer } from "../support/agent-world.ts";
import { asData } from "../support/screening.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";

let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends());
});
afterEach(() => scene.close());

const allowlist = { allowed: ["read", "write", "post"], approvalRequired: [], denied: ["erase"] };

/** Runs one agent step to its end, with these tools and this model. */
/** A model that calls a tool that nobody has, by another name each time. */
const inventing = () =>
  agentModel(({ toolChoice }, turn) =>
    toolChoice === "none"
      ? { content: "stuck" }
      : { calls: [{ name: `read_${turn}`, arguments: { turn } }] },
  );

async function start(
  model: ReturnType<typeof agentModel>,
  tools: ReturnType<typeof agentTools>,
  input: JsonObject = {},
  options: Partial<RuntimeOptions> = {},
) {
  const ports = { models: model.models, tools: tools.tools };
  await scene.worker({ allowlist, ...options }, () => ports);
  const step = { type: "llm", input: { task: "Tidy the files", ...input } } as const;
  const { runId, stepIds } = await scene.run([step]);
  return () => scene.ended(runId, stepIds[0] ?? "");
}

const reading = (path: string) => ({ name: "read", arguments: { path } });
const writing = (path: string) => ({ name: "write", arguments: { path } });
const finished: Answer = { content: "All tidy." };

describe("an agent step", () => {
  it("is offered what the lists let through, calls it, is shown the results in order, and answers [loop.tools]", async () => {
    const model = agentModel([{ calls: [reading("a"), reading("b")] }, finished]);
    const tools = agentTools(["read", "write", "erase", "unlisted"], async (_, { path }) => {
      // The first call is slower than the second.
      await new Promise((resolve) => setTimeout(resolve, path === "a" ? 60 : 0));
      return `content of ${String(path)}`;
    });
    const step = await (await start(model, tools))();
    expect(model.requests[0]?.tools?.map(({ name }) => name)).toEqual(["read", "write"]);
    expect(model.requests[1]?.messages.slice(-3)).toMatchObject([
      { role: "assistant", toolCalls: [{ name: "read" }, { name: "read" }] },
      { role: "tool", toolCallId: "call_0_0", content: asData("content of a") },
      { role: "tool", toolCallId: "call_0_1", content: asData("content of b") },
    ]);
    expect(step).toMatchObject({
      status: "completed",
      output: {
        response: "All tidy.",
        status: "completed",
        iterations: 2,
        model: expect.any(String),
        provider: "test",
        cost_micros: 14,
        tool_calls: [
          {
            tool_name: "read",
            arguments: { path: "a" },
            success: true,
            output_preview: "content of a",
            error: null,
            decision: "allow",
            digest: expect.stringMatching(/^[0-9a-f]{64}$/),
          },
          { arguments: { path: "b" }, success: true },
        ],
      },
      input_tokens: 20,
      output_tokens: 10,
    });
  });

  it("with two calls of which one needs a person: the free one runs, the yes resumes it, the results are in order, a second yes is refused [loop.approval]", async () => {
    const model = agentModel([{ calls: [writing("w"), reading("r")] }, finished]);
    const tools = agentTools(["read", "write"]);
    const ended = await start(model, tools);
    const [question] = await scene.questions(1);
    await scene.idle();
    expect(tools.calls).toMatchObject([{ name: "read", input: { path: "r" } }]);
    expect(model.requests).toHaveLength(1);
    expect(await scene.answer(question?.id ?? "", true)).toBe("taken");
    expect(await scene.answer(question?.id ?? "", true)).toBe("refused");
    const step = await ended();
    expect(tools.calls.map(({ name }) => name)).toEqual(["read", "write"]);
    expect(model.requests).toHaveLength(2);
    expect(model.requests[1]?.messages.slice(-2)).toMatchObject([
      { toolCallId: "call_0_0", content: asData('write {"path":"w"}') },
      { toolCallId: "call_0_1", content: asData('read {"path":"r"}') },
    ]);
    expect(step.output).toMatchObject({
      status: "completed",
      tool_calls: [
        { approval_id: question?.id, digest: question?.digest, success: true },
        { approval_id: null },
      ],
    });
  });

  it("asks anew for the same call in a later turn: a yes is good for one call [loop.approval]", async () => {
    const model = agentModel([{ calls: [writing("w")] }, { calls: [writing("w")] }, finished]);
    const tools = agentTools(["write"]);
    const ended = await start(model, tools);
    const [first] = await scene.questions(1);
    await scene.answer(first?.id ?? "", true);
    const [second] = await scene.questions(1);
    expect(second?.id).not.toBe(first?.id);
    expect(tools.calls).toHaveLength(1);
    await scene.answer(second?.id ?? "", true);
    expect((await ended()).status).toBe("completed");
    expect(tools.calls).toHaveLength(2);
    expect(model.requests).toHaveLength(3);
  });

  it("tells the model of a person's no, and goes on [loop.refusals]", async () => {
    const model = agentModel([{ calls: [writing("w")] }, finished]);
    const tools = agentTools(["write"]);
    const ended = await start(model, tools);
    const [question] = await scene.questions(1);
    await scene.answer(question?.id ?? "", false);
    const step = await ended();
    expect(tools.calls).toEqual([]);
    expect(model.requests[1]?.messages.at(-1)).toMatchObject({
      isError: true,
      content: expect.stringContaining("did not approve"),
    });
    expect(step).toMatchObject({
      status: "completed",
      output: {
        tool_calls: [
          {
            success: false,
            decision: "requires_approval",
            approval_id: question?.id,
            digest: question?.digest,
          },
        ],
      },
    });
  });

  it("tells the model what policy denies, at the control plane, and goes on [loop.refusals]", async () => {
    const model = agentModel([{ calls: [{ name: "post" }, reading("a")] }, finished]);
    const tools = agentTools(["read", "post"]);
    const step = await (await start(model, tools))();
    expect(tools.calls.map(({ name }) => name)).toEqual(["read"]);
    expect(step).toMatchObject({
      status: "completed",
      output: { tool_calls: [{ success: false, decision: "deny" }, { success: true }] },
    });
  });

  it("ends by a denial whose verdict says so, with what was done so far [loop.refusals]", async () => {
    const model = agentModel([{ calls: [reading("a")] }, { calls: [writing("w")] }, finished]);
    const tools = agentTools(["read", "write"]);
    const policy: RuntimeOptions["policy"] = ({ name }) =>
      name === "write"
        ? { kind: "deny", reason: "not today", failsStep: true }
        : { kind: "allow", reason: "fine" };
    const step = await (await start(model, tools, {}, { policy }))();
    expect(step).toMatchObject({
      status: "failed",
      error: { kind: "policy_denied", message: "not today" },
      output: { policy_denied: true, status: "failed", iterations: 2 },
    });
    expect(step.output).toMatchObject({ tool_calls: [{ tool_name: "read", success: true }] });
  });

  it("never lets a tool hear of a call that was cut off, written badly, not offered, or breaks the schema [loop.arguments]", async () => {
    const bad = [
      { name: "read", arguments: null, problem: "the arguments are not a JSON object" },
      { name: "read", arguments: null, cutOff: true as const },
      { name: "erase", arguments: { path: "all" } },
      { name: "read", arguments: { path: 7 } },
    ];
    const model = agentModel([{ calls: bad }, finished]);
    const tools = agentTools(["read", "erase"]);
    const step = await (await start(model, tools))();
    expect(tools.calls).toEqual([]);
    expect(model.requests[1]?.messages.slice(-4)).toMatchObject([
      { isError: true, content: expect.stringContaining("not a JSON object") },
      { isError: true, content: expect.stringContaining("token limit") },
      { isError: true, content: expect.stringContaining('no tool "erase"') },
      { isError: true, content: expect.stringContaining("schema") },
    ]);
    expect(step.status).toBe("completed");
  });

  it("at its cap is asked for an answer without tools, and fails or ends as partial, as its input says [loop.ends]", async () => {
    const model = agentModel(({ toolChoice }, turn) =>
      toolChoice === "none" ? { content: "so far" } : { calls: [reading(String(turn))] },
    );
    const failed = await (await start(model, agentTools(["read"]), { max_iterations: 3 }))();
    expect(failed).toMatchObject({
      status: "failed",
      error: { kind: "incomplete" },
      output: { status: "max_iterations", response: "so far", iterations: 4 },
    });
    expect(failed.output).toMatchObject({ tool_calls: [{}, {}, {}] });
    const input = { max_iterations: 2, on_incomplete: "partial" };
    const partial = await (await start(model, agentTools(["read"]), input))();
    expect(partial).toMatchObject({ status: "completed", output: { status: "max_iterations" } });
  });

  it("is offered 128 tools at most, and the output says how many were left out [loop.tools]", async () => {
    const tools = agentTools(["read"]);
    const [one] = tools.described.splice(0);
    for (let at = 0; at < 131 && one !== undefined; at += 1) {
      tools.described.push({ ...one, server: `files${at}`, address: `files${at}_read` });
    }
    const model = agentModel([finished]);
    const step = await (await start(model, tools))();
    expect(model.requests[0]?.tools).toHaveLength(128);
    expect(step).toMatchObject({ status: "completed", output: { tools_left_out: 3 } });
  });

  it("that goes in a circle is stopped [loop.no-progress]", async () => {
    const model = agentModel(({ toolChoice }) =>
      toolChoice === "none" ? { content: "stuck" } : { calls: [reading("same")] },
    );
    const step = await (await start(model, agentTools(["read"])))();
    expect(step).toMatchObject({
      status: "failed",
      error: { kind: "incomplete" },
      output: { status: "no_progress", iterations: 5 },
    });
  });

  it("that makes up tools is stopped, whatever names it makes up [loop.no-progress]", async () => {
    const stuck = await (await start(inventing(), agentTools(["read"])))();
    expect(stuck).toMatchObject({ output: { status: "no_progress", iterations: 5 } });
  });

  it("that makes up tools uses up its tool calls by it [budget.tools]", async () => {
    const budget = { max_tool_calls: 2 };
    const step = await (await start(inventing(), agentTools(["read"]), { budget }))();
    expect(step).toMatchObject({
      error: { kind: "budget_exceeded", details: { limit: "max_tool_calls", used: 3, most: 2 } },
      output: { status: "budget_exceeded", iterations: 3 },
    });
  });

  it("tells the model what a tool could not do; passing trouble is waited for, the last try's is told [loop.failures]", async () => {
    let tries = 0;
    const model = agentModel([
      { calls: [reading("gone")] },
      { calls: [reading("away")] },
      finished,
    ]);
    const tools = agentTools(["read"], async (_, { path }) => {
      if (path === "gone") return terminal("tool_failed", "no such file") as never;
      tries += 1;
      return retryable("unavailable", "the server is away") as never;
    });
    const step = await (await start(model, tools))();
    expect(tries).toBe(3);
    expect(model.requests).toHaveLength(3);
    expect(step).toMatchObject({
      status: "completed",
      output: {
        tool_calls: [
          { success: false, error: "no such file", decision: "allow" },
          { success: false, error: "the server is away" },
        ],
      },
    });
  });

  it("whose answer breaks its schema is mended in the same conversation, and billed once [loop.repair]", async () => {
    const model = agentModel([
      { calls: [reading("a")] },
      { content: "no json" },
      { content: '{"word":"yes"}' },
    ]);
    const schema = { type: "object", required: ["word"] };
    const step = await (await start(model, agentTools(["read"]), { output_schema: schema }))();
    expect(step).toMatchObject({
      status: "completed",
      output: { data: { word: "yes" }, iterations: 3, tool_calls: [{ success: true }] },
      input_tokens: 30,
      output_tokens: 15,
    });
    expect(model.requests[2]?.messages.map(({ role }) => role)).toEqual([
      "system",
      "user",
      "assistant",
      "tool",
      "assistant",
      "user",
    ]);
  });

  it("shows the model an excerpt of a long result, and keeps all of it as an artifact [loop.long-results]", async () => {
    const model = agentModel([{ calls: [reading("a")] }, finished]);
    const tools = agentTools(["read"], async () => "x".repeat(100_000));
    const step = await (await start(model, tools))();
    const shown = model.requests[1]?.messages.at(-1)?.content ?? "";
    expect(shown.length).toBeLessThan(21_000);
    expect(shown).toContain("kept as artifact");
    expect(step.output).toMatchObject({ tool_calls: [{ artifact: { size: 100_000 } }] });
  });

  it("costs the store no more in its 20th turn than twice what the 2nd did [loop.cost]", async () => {
    const bytes: number[] = [];
    const model = agentModel(({ toolChoice }, turn) =>
      toolChoice === "none" || turn === 20
        ? finished
        : { content: "Reading on.", calls: [reading(String(turn).padStart(3, "0"))] },
    );
    const tools = agentTools(["read"], async () => "y".repeat(2_000));
    await scene.worker({ allowlist }, ({ store }) => ({
      models: model.models,
      tools: tools.tools,
      store: {
        ...store,
        append: (lease, entries, durable) => {
          bytes.push(entries.length === 0 ? 0 : JSON.stringify(entries).length);
          return store.append(lease, entries, durable);
        },
      },
    }));
    const { runId, stepIds } = await scene.run([{ type: "llm", input: { task: "Read all" } }]);
    const step = await scene.ended(runId, stepIds[0] ?? "");
    expect(step.output).toMatchObject({ iterations: 21, status: "completed" });
    const written = bytes.filter((size) => size > 200);
    const turns = Array.from(
      { length: 20 },
      (_, at) => (written[2 * at] ?? 0) + (written[2 * at + 1] ?? 0),
    );
    expect(turns[19]).toBeLessThan(2 * (turns[1] ?? 0));
  });
});
