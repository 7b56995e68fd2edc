import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ok } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene, writeStep } from "../support/human-scene.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();

let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends());
});
afterEach(() => scene.close());

const edit = (id: string, input: unknown) =>
  scene.plane.fetch("PUT", `/v1/approvals/${id}`, { approved: true, input });
const question = async () => {
  const [asked] = await scene.questions(1);
  return asked?.id ?? "";
};

describe("a call that a person edits before saying yes", () => {
  it("is made with exactly the edited arguments, whatever they are [approval.edited]", async () => {
    await scene.worker();
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 }),
        async (arbitrary) => {
          const input = JSON.parse(JSON.stringify(arbitrary).toWellFormed()) as JsonObject;
          const before = scene.calls.length;
          const { runId, stepIds } = await scene.run([writeStep({ path: "asked" })]);
          const id = await question();
          const { status, body } = await edit(id, input);
          expect(status, JSON.stringify(body)).toBe(200);
          expect(body["edited_input"]).toEqual(input);
          const step = await scene.ended(runId, stepIds[0] ?? "");
          expect(step.status, JSON.stringify(step.error)).toBe("completed");
          expect(scene.calls.slice(before)).toEqual([{ name: "write", input }]);
        },
      ),
      { numRuns: 8 },
    );
  });

  it("goes on so with a worker that takes the step over after the yes [approval.edited]", async () => {
    const first = await scene.worker();
    const { runId, stepIds } = await scene.run([writeStep({ path: "asked" })]);
    const id = await question();
    await scene.idle();
    await first.close();
    await edit(id, { path: "edited" });
    await scene.worker();
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({ status: "completed" });
    expect(scene.calls).toEqual([{ name: "write", input: { path: "edited" } }]);
  });

  it("is judged anew by the worker, which denies what it does not allow [approval.edit-judged]", async () => {
    await scene.worker({
      policy: ({ input }) =>
        input["path"] === "secret"
          ? { kind: "deny", reason: "not that one" }
          : { kind: "allow", reason: "fine" },
    });
    const { runId, stepIds } = await scene.run([writeStep({ path: "asked" })]);
    await edit(await question(), { path: "secret" });
    const step = await scene.ended(runId, stepIds[0] ?? "");
    expect(step).toMatchObject({ status: "failed", error: { kind: "policy_denied" } });
    expect(scene.calls).toEqual([]);
  });

  it("is judged anew by the control plane's policies, and bound by four eyes [approval.edit-judged]", async () => {
    await scene.worker();
    const policy = (name: string, body: object) =>
      scene.plane.fetch("POST", "/v1/policies", { name, ...body });
    const of = (path: string) => ({ tools: [{ tool: "write", when: { path } }] });
    await policy("no secrets", { effect: "deny", conditions: of("secret") });
    await policy("two people", {
      effect: "require_approval",
      conditions: of("shared"),
      approval: { four_eyes: true },
    });
    const { runId, stepIds } = await scene.run([writeStep({ path: "asked" })]);
    const id = await question();
    for (const path of ["secret", "shared"]) {
      const refused = await edit(id, { path });
      expect(refused, JSON.stringify(refused.body)).toMatchObject({ status: 403 });
    }
    expect((await edit(id, ["list"])).status).toBe(422);
    const no = { approved: false, input: {} };
    expect((await scene.plane.fetch("PUT", `/v1/approvals/${id}`, no)).status).toBe(422);
    expect(scene.calls).toEqual([]);
    expect((await edit(id, { path: "fine" })).status).toBe(200);
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({ status: "completed" });
    expect(scene.calls).toEqual([{ name: "write", input: { path: "fine" } }]);
  });

  it("breaks no schema that its tool is registered with: it is refused with the place, and the question stays open [approval.edit-judged]", async () => {
    await scene.worker();
    const properties = { path: { type: "string" }, lines: { items: { type: "integer" } } };
    const schema = { type: "object", properties, required: ["path"], additionalProperties: false };
    const tool = { name: "Write", slug: "write", mcp_server: "desk", risk_level: "write" };
    const registered = { ...tool, input_schema: schema };
    expect((await scene.plane.fetch("POST", "/v1/registry/tools", registered)).status).toBe(201);
    const { runId, stepIds } = await scene.run([writeStep({ path: "asked" })]);
    const id = await question();
    const other = fc.oneof(fc.integer(), fc.constant(null), fc.constant(["a"]));
    const broken = fc.oneof(
      fc.record({ path: other }).map((input) => ({ input, place: "/path must be string" })),
      fc.nat(3).map((at) => {
        const lines = [1, 2, 3, 4].map((line, one) => (one === at ? "4" : line));
        return { input: { path: "p", lines }, place: `/lines/${at} must be integer` };
      }),
      fc.constant({ input: {}, place: "must have required property 'path'" }),
      fc.constant({ input: { path: "p", mode: 1 }, place: "additional properties (mode)" }),
    );
    await fc.assert(
      fc.asyncProperty(broken, async ({ input, place }) => {
        const { status, body } = await edit(id, input);
        expect(status, JSON.stringify(body)).toBe(422);
        expect(JSON.stringify(body)).toContain(place);
        const { body: asked } = await scene.plane.fetch("GET", `/v1/approvals/${id}`);
        expect(asked["status"]).toBe("pending");
      }),
      { numRuns: 12 },
    );
    expect((await edit(id, { path: "p", lines: [1] })).status).toBe(200);
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({ status: "completed" });
    expect(scene.calls).toEqual([{ name: "write", input: { path: "p", lines: [1] } }]);
  });

  it("breaks no schema that its worker told, where nobody has registered the tool [approval.edit-judged]", async () => {
    scene.setSchema({ type: "object", properties: { path: { type: "string" } } });
    await scene.worker();
    const { runId, stepIds } = await scene.run([writeStep({ path: "asked" })]);
    const id = await question();
    const refused = await edit(id, { path: 1 });
    expect(refused, JSON.stringify(refused.body)).toMatchObject({ status: 422 });
    expect(JSON.stringify(refused.body)).toContain("/path must be string");
    expect(JSON.stringify(await scene.questions(1))).not.toContain("input_schema");
    expect((await edit(id, { path: "edited" })).status).toBe(200);
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({ status: "completed" });
    expect(scene.calls).toEqual([{ name: "write", input: { path: "edited" } }]);
  });

  it("may be one that an agent's model makes, while its other call stays as it is, and each shows the digest of its own approval [approval.edited] [approval.digest]", async () => {
    const reply = (paths: string[]) => ({
      provider: "test",
      model: "m",
      content: paths.length === 0 ? "done" : "",
      toolCalls: paths.map((path, at) => ({ id: `c${at}`, name: "write", arguments: { path } })),
      finishReason: paths.length === 0 ? ("stop" as const) : ("tool_calls" as const),
      usage: { inputTokens: 1, outputTokens: 1 },
    });
    const replies = [reply(["same", "same"]), reply([])];
    const heard: string[] = [];
    const models: ModelProvider = {
      complete: async (request) => {
        heard.push(JSON.stringify(request.messages));
        return ok(replies.shift() ?? reply([]));
      },
    };
    await scene.worker({}, () => ({ models }));
    const { runId, stepIds } = await scene.run([{ type: "llm", input: { task: "t" } }]);
    const [one, two] = await scene.questions(2);
    await edit(two?.id ?? "", { path: "edited" });
    await scene.answer(one?.id ?? "", true);
    const step = await scene.ended(runId, stepIds[0] ?? "");
    expect(step).toMatchObject({ status: "completed" });
    expect(scene.calls.map(({ input }) => input)).toEqual([{ path: "same" }, { path: "edited" }]);
    const ids = [one?.id ?? "", two?.id ?? ""];
    const approvals = ids.map(async (id) => value(await scene.plane.api.approval(id, signal)));
    const shown = (await Promise.all(approvals)).map(({ id, digest }) => ({
      approval_id: id,
      digest,
    }));
    expect(step.output).toMatchObject({ tool_calls: shown });
    // The model is told of the one that is not its own any more.
    const said = /A person changed the arguments of this call.{0,80}edited/gu;
    expect(heard.at(-1)?.match(said), heard.at(-1)).toHaveLength(1);
  });
});
