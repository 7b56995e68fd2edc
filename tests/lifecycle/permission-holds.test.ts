import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import type { RuntimeOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { verdict } from "../../machines/contracts/domain/action.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import { ok, retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { ToolHost, ToolTarget } from "../../machines/contracts/ports/tool-host.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene, writeStep } from "../support/human-scene.ts";

const never = new AbortController().signal;
const llm = { type: "llm" as const, input: { task: "decide for yourself" } };
const backends = sqliteBackends();

/** A desk whose one tool moves between servers and changes its schema, as `desk` says; it notes what it was told. */
function movingDesk() {
  const desk = {
    server: "staging",
    digest: "first",
    isBusy: false,
    isSafe: true,
    done: [] as ToolTarget[],
  };
  const describeTool = () => ({
    name: "write",
    address: "write",
    description: "Writes.",
    inputSchema: {},
    outputSchema: null,
    safeToRepeat: desk.isSafe,
    readOnly: false,
    server: desk.server,
    digest: desk.digest,
  });
  const tools: ToolHost = {
    list: async () => ok([describeTool()]),
    describe: async () => ok(describeTool()),
    async call({ server, name, digest }) {
      if (server !== desk.server || digest !== desk.digest) {
        return { ok: false, failure: terminal("policy_denied", "another tool by now") };
      }
      desk.done.push({ server, name, digest });
      if (desk.isBusy) {
        return { ok: false, failure: retryable("rate_limited", "come back later", 120_000) };
      }
      return ok({ server, content: "written" });
    },
    close: async () => {},
  };
  return { desk, tools };
}

describe("a permission", () => {
  let scene: HumanScene;
  let moving: ReturnType<typeof movingDesk>;
  beforeAll(() => backends.start());
  afterAll(() => backends.stop());
  beforeEach(async () => {
    scene = await humanScene(backends);
    moving = movingDesk();
  });
  afterEach(() => scene.close());

  const start = (
    options: Partial<RuntimeOptions> = {},
    wrap: (own: StepBackend) => Partial<RuntimePorts> = () => ({}),
  ) => scene.worker(options, (own) => ({ tools: moving.tools, ...wrap(own) }));

  /** A step asked about by a worker that is gone by now. */
  const asked = async () => {
    const asker = await start();
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const [question] = await scene.questions(1);
    await scene.idle();
    await asker.close();
    return { runId, stepId: stepIds[0] ?? "", id: question?.id ?? "", question };
  };
  const denying = { allowlist: { allowed: ["write"], approvalRequired: [], denied: ["write"] } };

  it("given on one worker is not used on a worker whose list denies the tool [policy.holds]", async () => {
    const { runId, stepId, id } = await asked();
    await scene.answer(id, true);
    await start(denying);
    expect(await scene.ended(runId, stepId)).toMatchObject({
      status: "failed",
      error: { kind: "policy_denied" },
    });
    expect(moving.desk.done).toEqual([]);
  });

  it("is not used for a run that was cancelled after the yes [policy.holds]", async () => {
    const { runId, id } = await asked();
    await scene.answer(id, true);
    await scene.plane.api.cancel(runId, never);
    await start();
    await scene.idle();
    expect(await scene.plane.statuses(runId)).toMatchObject({ run: "cancelled" });
    expect(moving.desk.done).toEqual([]);
  });

  it.each([
    ["on another server", { server: "production" }],
    ["with another schema", { digest: "second" }],
  ])(
    "is for the tool that was shown: the same name %s is asked about anew [approval.exact]",
    async (_, change) => {
      const { runId, stepId, id, question } = await asked();
      expect(question?.action_details).toMatchObject({ server: "staging", schema: "first" });
      await scene.answer(id, true);
      Object.assign(moving.desk, change);
      await start();
      const [second] = await scene.questions(1);
      expect(second?.id).not.toBe(id);
      expect(second?.digest).not.toBe(question?.digest);
      const { server, digest: schema } = moving.desk;
      expect(second?.action_details).toMatchObject({ server, schema });
      expect(moving.desk.done).toEqual([]);
      await scene.answer(second?.id ?? "", true);
      expect(await scene.ended(runId, stepId)).toMatchObject({ status: "completed" });
      expect(moving.desk.done).toMatchObject([{ server }]);
    },
  );

  it("is looked at again when a retry that was parked comes due [policy.holds]", async () => {
    moving.desk.isBusy = true;
    const asker = await start();
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.answer(id, true);
    await vi.waitFor(() => expect(moving.desk.done).toHaveLength(1), 60_000);
    await scene.idle();
    await asker.close();
    // Anybody may enqueue it again before its time: it is taken up, wherever it stands.
    const flat = { run_id: runId, step_id: stepIds[0] ?? "", step_type: "tool" };
    await scene.backend.queue.publish({ ...flat, input: '{"tool_name":"write"}' });
    await start(denying);
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({
      error: { kind: "policy_denied" },
    });
    expect(moving.desk.done).toHaveLength(1);
  });

  it.each(["a back-off", "a journal that could not be written"] as const)(
    "that ended during %s is not used after it, however short it was [policy.after-waits]",
    async (wait) => {
      moving.desk.isSafe = false;
      let isDenied = false;
      const asks: boolean[] = [];
      const checkTool = async () => {
        asks.push(isDenied);
        return ok(isDenied ? verdict.deny("not any more") : verdict.allow("fine"));
      };
      let isAway = wait !== "a back-off";
      const calls: string[] = [];
      await start({}, ({ store }) => ({
        controlPlane: { ...scene.plane.worker, checkTool },
        tools: {
          ...moving.tools,
          async call({ name, server }) {
            calls.push(name);
            if (calls.length > 1 || wait !== "a back-off") return ok({ server, content: "done" });
            isDenied = true;
            return { ok: false, failure: retryable("rate_limited", "not now", 100) };
          },
        },
        store: {
          ...store,
          append(lease, entries, durable) {
            if (!isAway || entries.length === 0) return store.append(lease, entries, durable);
            isAway = false;
            isDenied = true;
            return Promise.reject(new StoreError("passing", "not now"));
          },
        },
      }));
      const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
      expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({
        status: "failed",
        error: { kind: "policy_denied" },
      });
      expect(asks).toEqual([false, true]);
      expect(calls).toHaveLength(wait === "a back-off" ? 1 : 0);
    },
  );

  it.each(["rejected", "expired"] as const)(
    "that was %s is none, though the control plane advertises nothing any more [policy.denied-never]",
    async (how) => {
      const { runId, stepId, id } = await asked();
      if (how === "rejected") await scene.answer(id, false);
      else scene.pass(25 * 60 * 60 * 1_000);
      const forgetful = { ...scene.plane.worker, extensions: async () => ok(new Set<never>()) };
      await start({}, () => ({ controlPlane: forgetful }));
      expect(await scene.ended(runId, stepId)).toMatchObject({
        status: "failed",
        error: { kind: `approval_${how}` },
      });
      expect(moving.desk.done).toEqual([]);
    },
  );

  it("that was given before it was asked for again is read at once [approval.answered]", async () => {
    const { runId, stepId, id } = await asked();
    await scene.answer(id, true);
    // The store forgot all that it kept of the step.
    await start({}, ({ store }) => ({
      store: {
        ...store,
        async open(...given) {
          const opening = await store.open(...given);
          return opening.kind === "opened" ? { ...opening, record: null } : opening;
        },
      },
    }));
    expect(await scene.ended(runId, stepId)).toMatchObject({ status: "completed" });
    expect(moving.desk.done).toHaveLength(1);
  });

  it("is not the worker's clock to take away while the control plane holds the question open [approval.clock]", async () => {
    const asker = await start();
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.idle();
    await asker.close();
    const ahead = { ...scene.clock, now: () => scene.clock.now() + 30 * 60 * 60 * 1_000 };
    await start({}, () => ({ clock: ahead }));
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await scene.questions(1);
    await scene.answer(id, true);
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({ status: "completed" });
  });

  it("of a user's policy function widens nothing, and one out of shape denies [policy.stricter]", async () => {
    const policies = [() => verdict.allow("fine by me"), () => ({ kind: "denied" }) as never];
    for (const [at, policy] of policies.entries()) {
      const worker = await start({ ...(at === 0 ? denying : {}), policy });
      const { runId, stepIds } = await scene.run([writeStep({ n: at })]);
      expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({
        error: { kind: "policy_denied" },
      });
      await worker.close();
    }
    expect(moving.desk.done).toEqual([]);
  });

  it("that a handler asks for inside its own loop is judged by the same lists [policy.inner]", async () => {
    const said: string[] = [];
    const loop: StepHandler = async ({ permission }) => {
      for (const name of ["write", "desk/write", "erase", "read"]) {
        const permitted = await permission({ kind: "tool", name, input: {} });
        said.push(`${name} ${permitted.allowed ? "allowed" : permitted.result.kind}`);
      }
      return { kind: "done", output: null };
    };
    const desk = await moving.tools.describe("write", never);
    const tools: ToolHost = {
      ...moving.tools,
      async describe(name) {
        const bare = name.split("/").at(-1) ?? "";
        return desk.ok ? ok({ ...desk.value, server: "desk", name: bare, address: bare }) : desk;
      },
    };
    const allowlist = {
      allowed: ["read", "write", "erase"],
      approvalRequired: [],
      denied: ["desk/erase"],
    };
    await start({ handlers: { llm: loop }, allowlist }, () => ({ tools }));
    const { runId, stepIds } = await scene.run([llm]);
    await scene.ended(runId, stepIds[0] ?? "");
    // The control plane asks about `write` and lets `read` through.
    expect(said).toEqual(["write asked", "desk/write asked", "erase failed", "read allowed"]);
  });
});
