import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StepScope, UsersHandler } from "../../actors/handlers/handler.ts";
import { digestOf } from "../../actors/step/approvals.ts";
import type { RuntimeOptions } from "../../actors/options.ts";
import { ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
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

const allowlist = { allowed: ["read", "write"], approvalRequired: [], denied: [] };
const done: Answer = { content: "Done." };

/** Runs an agent that calls `write` once for each path, all in one reply, with a handler in the tool's place. */
async function start(
  handler: UsersHandler,
  paths: readonly string[] = ["a"],
  options: Partial<RuntimeOptions> = {},
) {
  const calls = paths.map((path) => ({ name: "write", arguments: { path } }));
  const model = agentModel([{ calls }, done]);
  const tools = agentTools(["read", "write"]);
  const ports = { models: model.models, tools: tools.tools };
  const handlers = { "tool:files/write": handler };
  await scene.worker({ allowlist, handlers, ...options }, () => ports);
  const step = { type: "llm", input: { task: "Write the files" } } as const;
  const { runId, stepIds } = await scene.run([step]);
  return { model, tools, ended: () => scene.ended(runId, stepIds[0] ?? "") };
}

/** A handler as it is written for a tool step; `touch` is the outside world. */
const writer =
  (touch: (input: JsonObject, key: string) => Outcome<string>): UsersHandler =>
  async ({ job, permission, effect }: StepScope) => {
    const input = job.input["tool_input"] as JsonObject;
    const permitted = await permission({ kind: "tool", name: "write", input });
    if (!permitted.allowed) return permitted.result;
    const written = await effect<string>({
      name: "write",
      input,
      repeat: "unsafe",
      action: permitted.action,
      ...(permitted.grant === null ? {} : { grant: permitted.grant }),
      run: async (_signal, key) => touch(input, key),
    });
    return written.ok ? { kind: "done", output: { wrote: written.value } } : written.result;
  };

describe("a handler of one tool, when a model calls the tool", () => {
  it("does the call in the tool's place, after a yes to each, under the loop's journal [library.handlers] [approval.digest]", async () => {
    const touched: string[] = [];
    const { model, tools, ended } = await start(
      writer(({ path }, key) => {
        touched.push(key.split("/").slice(2, 4).join("/"));
        return ok(String(path));
      }),
      ["a", "a"],
    );
    const questions = await scene.questions(2);
    expect(touched).toEqual([]);
    for (const { id } of questions) await scene.answer(id, true);
    const step = await ended();
    expect(tools.calls).toEqual([]);
    expect(new Set(touched).size).toBe(2);
    expect(touched.every((key) => /^tool#0\.1\.[12]\/write#/u.test(key))).toBe(true);
    expect(model.requests[1]?.messages.slice(-2)).toMatchObject([
      { content: asData('{"wrote":"a"}') },
      { content: asData('{"wrote":"a"}') },
    ]);
    const call = { success: true, decision: "allow", tool_name: "write", server: "files" };
    const { tool_calls: told } = step.output as { tool_calls: { approval_id: string }[] };
    const inOrder = told.map(({ approval_id: id }) => questions.find((one) => one.id === id));
    expect(new Set(inOrder).size).toBe(2);
    expect(told).toMatchObject(
      inOrder.map((one) => ({ ...call, approval_id: one?.id, digest: one?.digest })),
    );
  });

  it("is not begun where the call is denied, or a person says no; the model is told [library.handlers]", async () => {
    let runs = 0;
    const handler: UsersHandler = async () => {
      runs += 1;
      return { kind: "done", output: null };
    };
    const first = await start(handler);
    const [question] = await scene.questions(1);
    await scene.answer(question?.id ?? "", false);
    expect(await first.ended()).toMatchObject({
      status: "completed",
      output: { tool_calls: [{ success: false, decision: "requires_approval" }] },
    });
    expect(runs).toBe(0);
  });

  it("that throws, fails or returns what is no result tells the model so, and the loop goes on [library.handlers]", async () => {
    const handler: UsersHandler = async ({ job }) => {
      const { path } = job.input["tool_input"] as JsonObject;
      if (path === "throws") throw new Error("the disk is full");
      if (path === "fails") return { kind: "failed", failure: terminal("tool_failed", "no room") };
      return path === "odd" ? ("odd" as never) : { kind: "done", output: "fine" };
    };
    const policy = () => ({ kind: "allow" as const, reason: "fine" });
    const { model, ended } = await start(handler, ["throws", "fails", "odd", "fine"], {
      policy,
      toolPolicy: "worker",
    });
    expect((await ended()).status).toBe("completed");
    expect(model.requests[1]?.messages.slice(-4)).toMatchObject([
      { content: expect.stringMatching(/the handler "tool:files\/write" threw.*disk is full/u) },
      { content: asData("no room") },
      { content: expect.stringContaining("returned a string") },
      { content: asData("fine") },
    ]);
  });

  it("may do the tool's own work, and the model is shown what the tool brought [library.handlers]", async () => {
    const { model, tools, ended } = await start((_scope, next) => next(), ["a"], {
      toolPolicy: "worker",
    });
    expect((await ended()).status).toBe("completed");
    expect(tools.calls).toMatchObject([{ name: "write", input: { path: "a" } }]);
    expect(model.requests[1]?.messages.at(-1)).toMatchObject({
      content: asData('write {"path":"a"}'),
    });
  });

  it("does the tool's own work only as long as it is the tool that the model was offered [library.handlers] [loop.target]", async () => {
    const { tools, ended } = await start((_scope, next) => next());
    const [question] = await scene.questions(1);
    await scene.idle();
    for (const tool of tools.described) tool.digest = digestOf("another schema");
    await scene.answer(question?.id ?? "", true);
    expect(await ended()).toMatchObject({
      status: "completed",
      output: { tool_calls: [{ success: false, decision: "deny" }] },
    });
    expect(tools.calls).toEqual([]);
  });

  it("whose effect may have happened asks a person before it is done again, and a no is told with the doubt [library.handlers] [loop.doubt]", async () => {
    let tries = 0;
    const { model, ended } = await start(
      writer(() => {
        tries += 1;
        return { ok: false, failure: terminal("in_doubt", "the connection broke") };
      }),
      ["a"],
      { toolPolicy: "worker" },
    );
    const [question] = await scene.questions(1);
    expect(question?.action_details).toMatchObject({
      kind: "repeat",
      input: { may_have_run: true },
    });
    await scene.answer(question?.id ?? "", false);
    expect((await ended()).status).toBe("completed");
    expect(tries).toBe(1);
    expect(model.requests[1]?.messages.at(-1)).toMatchObject({
      isError: true,
      content: expect.stringMatching(/A person did not approve this call.*may have run/u),
    });
  });
});
