import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { toEnvelope, type StepType } from "../../machines/contracts/domain/job.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import { ok, terminal } from "../../machines/contracts/domain/failure.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { composeWorker, type TestWorker } from "../support/compose-worker.ts";
import { redisBackends, sqliteBackends } from "../support/backends.ts";
import {
  type GatewayOptions,
  type FerrumDeckGateway,
  startFerrumDeckGateway,
} from "../support/ferrumdeck-gateway.ts";

const documents = [
  { content: "The supervisor spawns one step actor a job." },
  { content: "Lunch is at noon." },
];

/** One tool, `write`, that notes its calls. */
function noted(called: string[]): ToolHost {
  const tool = {
    name: "write",
    server: "desk",
    digest: "first",
    address: "write",
    description: "",
    inputSchema: {},
    outputSchema: null,
    safeToRepeat: false,
    readOnly: false,
  };
  return {
    list: async () => ok([tool]),
    describe: async () => ok(tool),
    async call({ server, name }) {
      called.push(`${server}.${name}`);
      return ok({ server, content: "written" });
    },
    close: async () => {},
  };
}

describe.each([redisBackends(), sqliteBackends()])(
  "a worker on $name, against FerrumDeck's gateway",
  (backends) => {
    let room: string;
    let folder: string;
    let backend: StepBackend;
    let gateway: FerrumDeckGateway;
    let worker: TestWorker | undefined;

    beforeAll(() => backends.start());
    afterAll(() => backends.stop());
    beforeEach(async () => {
      room = `room${randomUUID().slice(0, 8)}`;
      folder = await mkdtemp(join(tmpdir(), "stateplane-test-"));
      backend = await backends.backend(room);
    });
    afterEach(async () => {
      await worker?.close();
      worker = undefined;
      await backend.close();
      await gateway.close();
      await rm(folder, { recursive: true, force: true });
    });

    async function start(
      gatewayOptions: GatewayOptions = {},
      options: Partial<RuntimeOptions> = {},
    ) {
      gateway = await startFerrumDeckGateway(gatewayOptions);
      worker = composeWorker({ backend, controlPlane: gateway, artifacts: folder, options });
      return worker;
    }

    function envelope(stepId: string, stepType: string, input: JsonObject, runId = "run_1") {
      const scope = {
        tenantId: "ten_1",
        projectId: "prj_1",
        agentId: null,
        traceId: null,
        spanId: null,
      };
      const job = { runId, stepId, stepType: stepType as StepType, input, ...scope };
      return { data: toEnvelope({ ...job, createdAt: Date.now() }) };
    }

    it("takes a hand-made envelope through every state to exactly one result", async () => {
      const { ended } = await start();
      await backend.queue.publish(
        envelope("stp_1", "retrieval", { query: "step actor", backend: "local", documents }),
      );
      const [end] = await ended("stp_1");
      expect(end).toMatchObject({
        how: "settled",
        stateHistory: ["pending", "policy-check", "executing", "validating", "reported"],
      });
      expect(gateway.results()).toHaveLength(1);
      expect(gateway.results()[0]).toMatchObject({
        stepId: "stp_1",
        body: { status: "completed", output: { query: "step actor" } },
      });
      expect(await backend.queue.stats()).toMatchObject({ length: 0, pending: 0, deadLetters: 0 });
    });

    it("denies what policy denies, and says why in the report", async () => {
      const allowlist = { allowed: ["read_file"], approvalRequired: [], denied: [] };
      const { ended } = await start({ verdicts: { read_file: "deny" } }, { allowlist });
      await backend.queue.publish(
        envelope("stp_1", "tool", { tool_name: "read_file", tool_input: {} }),
      );
      await backend.queue.publish(
        // A run of its own: the first denial ends the run of the other.
        envelope("stp_2", "tool", { tool_name: "rm_rf", tool_input: {} }, "run_2"),
      );
      await Promise.all([ended("stp_1"), ended("stp_2")]);
      const errors = gateway.results().map(({ body }) => body["error"]);
      expect(errors).toEqual([
        expect.objectContaining({ kind: "policy_denied" }),
        expect.objectContaining({ kind: "policy_denied" }),
      ]);
      // The worker's own denial costs no round trip.
      const checks = gateway.requests.filter(({ path }) => path.endsWith("/check-tool"));
      expect(checks.map(({ body }) => body)).toEqual([
        expect.objectContaining({ tool_name: "read_file" }),
      ]);
    });

    it("reports input that its step type can't take as that, and asks nobody about it", async () => {
      const { ended } = await start();
      await backend.queue.publish(envelope("stp_1", "tool", { tool_input: {} }));
      await ended("stp_1");
      const message = expect.stringContaining("tool_name") as string;
      expect(gateway.results()).toMatchObject([
        { body: { status: "failed", error: { kind: "invalid_input", message } } },
      ]);
      expect(gateway.requests.filter(({ path }) => path.endsWith("/check-tool"))).toEqual([]);
    });

    it("parks an approval step, and finishes it when the gateway puts it back approved", async () => {
      const { ended, runtime } = await start();
      await backend.queue.publish(envelope("stp_1", "approval", { message: "deploy?" }));
      await ended("stp_1");
      expect(runtime.steps()).toEqual([]);
      expect(gateway.results()).toMatchObject([{ body: { status: "waiting_approval" } }]);
      expect(await backend.queue.stats()).toMatchObject({ length: 0, pending: 0 });

      // A second delivery that nobody approved is no grant.
      await backend.queue.publish(envelope("stp_1", "approval", { message: "deploy?" }));
      await ended("stp_1", 2);
      expect(gateway.results()).toHaveLength(1);

      gateway.approve("run_1", "stp_1");
      await backend.queue.publish(envelope("stp_1", "approval", {}));
      const ends = await ended("stp_1", 3);
      expect(ends.at(-1)).toMatchObject({
        how: "settled",
        stateHistory: [
          "pending",
          "policy-check",
          "awaiting-approval",
          "policy-check",
          "executing",
          "validating",
          "reported",
        ],
      });
      expect(gateway.results().at(-1)).toMatchObject({
        body: { status: "completed", output: { status: "approved" } },
      });
    });

    it.each(["reject", "expire"] as const)(
      "takes the gateway's %s for a no, though nobody is told of it, and runs nothing [policy.denied-never]",
      async (how) => {
        const called: string[] = [];
        gateway = await startFerrumDeckGateway({ verdicts: { write: "ask" } });
        worker = composeWorker({
          backend,
          controlPlane: gateway,
          artifacts: folder,
          options: { allowlist: { allowed: ["write"], approvalRequired: [], denied: [] } },
          ports: { tools: noted(called) },
        });
        const job = envelope("stp_1", "tool", { tool_name: "write" });
        await backend.queue.publish(job);
        await worker.ended("stp_1");
        expect(gateway.results()).toMatchObject([{ body: { status: "waiting_approval" } }]);
        if (how === "reject") gateway.reject("run_1", "stp_1");
        else gateway.expire("run_1");
        // Whatever brings it back: a person, a timer, another delivery.
        await backend.queue.publish(job);
        const ends = await worker.ended("stp_1", 2);
        expect(ends.at(-1)).toMatchObject({ how: "settled" });
        expect(called).toEqual([]);
        expect(gateway.run("run_1")).toMatchObject({ status: "failed" });
      },
    );

    it("runs nothing while nobody can say whether the run lives, whatever the step's type [policy.closed]", async () => {
      let isAway = true;
      let asked = 0;
      gateway = await startFerrumDeckGateway({
        failing: ({ method, path }) =>
          isAway && method === "GET" && /^\/v1\/runs\/run_[12]$/.test(path)
            ? { status: 503, body: { error: { code: "X", message: "away" } } }
            : null,
      });
      const models = {
        complete: async () => {
          asked += 1;
          return { ok: false as const, failure: terminal("model_failed", "asked") };
        },
      };
      worker = composeWorker({
        backend,
        controlPlane: gateway,
        artifacts: folder,
        ports: { models },
        options: {
          limits: { ...defaultOptions.limits, maxAttempts: 50, baseDelayMs: 20, maxDelayMs: 100 },
        },
      });
      await backend.queue.publish(envelope("stp_1", "llm", { task: "x" }));
      await backend.queue.publish(
        envelope("stp_2", "retrieval", { query: "x", documents }, "run_2"),
      );
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(asked).toBe(0);
      expect(gateway.results()).toEqual([]);
      isAway = false;
      await worker.ended("stp_1");
      expect(asked).toBeGreaterThan(0);
    });

    it.each(["park", "settle"] as const)(
      "knows its own acknowledgement from a lost lease, when a heartbeat passes a slow %s",
      async (write) => {
        gateway = await startFerrumDeckGateway();
        const { store } = backend;
        let renewed = Promise.withResolvers<void>();
        const slow = async (...given: never[]) => {
          const written = await (store[write] as (...all: never[]) => Promise<unknown>)(...given);
          // What a heartbeat hears that begins only now.
          renewed = Promise.withResolvers<void>();
          await renewed.promise;
          return written;
        };
        const renew: StepBackend["queue"]["renew"] = async (entryIds) => {
          const waiting = renewed;
          const lost = await backend.queue.renew(entryIds);
          setImmediate(waiting.resolve);
          return lost;
        };
        const ports = {
          queue: { ...backend.queue, renew },
          store: { ...store, [write]: slow } as typeof store,
        };
        const options = { leaseMs: 3_000 };
        worker = composeWorker({
          backend,
          controlPlane: gateway,
          artifacts: folder,
          options,
          ports,
        });
        const isParked = write === "park";
        const input = isParked ? { message: "deploy?" } : { query: "x", documents };
        await backend.queue.publish(envelope("stp_1", isParked ? "approval" : "retrieval", input));
        const [end] = await worker.ended("stp_1");
        expect(end).toMatchObject({ how: isParked ? "parked" : "settled" });
      },
    );

    it("keeps garbage as dead letters, reports what it can name, and goes on working", async () => {
      const { ended } = await start();
      await backend.queue.publish({ data: "not json" });
      await backend.queue.publish({ data: JSON.stringify({ payload: { run_id: "run_1" } }) });
      await backend.queue.publish({ nonsense: "yes" });
      await backend.queue.publish(envelope("stp_robot", "robot", {}));
      await backend.queue.publish({
        data: JSON.stringify({
          payload: {
            run_id: "run_3",
            step_id: "stp_null",
            step_type: "llm",
            input: {},
            context: null,
          },
        }),
      });
      // Each of another run: the gateway ends a run with its first failed step.
      await backend.queue.publish(
        envelope("stp_ok", "retrieval", { query: "x", documents }, "run_2"),
      );
      await Promise.all([ended("stp_robot"), ended("stp_ok"), ended("stp_null")]);
      // Of what names no step, nobody is told that it has ended.
      await expect.poll(() => backend.queue.stats()).toMatchObject({ length: 0, pending: 0 });
      const letters = await backend.queue.deadLetters(10);
      expect(letters.map(({ reason }) => reason)).toEqual(
        expect.arrayContaining([
          expect.stringContaining("not JSON"),
          expect.stringContaining("step_id"),
          expect.stringContaining("neither"),
          expect.stringContaining('"robot" is unknown'),
        ]),
      );
      const byStep = new Map(gateway.results().map(({ stepId, body }) => [stepId, body]));
      expect(byStep.get("stp_robot")).toMatchObject({
        status: "failed",
        error: { kind: "invalid_job" },
      });
      expect(byStep.get("stp_ok")).toMatchObject({ status: "completed" });
    });

    it("sends the report again through errors of the gateway, and never turns it into a failure [once.outbox]", async () => {
      let refusals = 3;
      const { ended } = await start({
        failing: ({ method, path }) => {
          if (method !== "POST" || !path.includes("/steps/") || refusals === 0) return null;
          refusals -= 1;
          return {
            status: refusals === 1 ? 429 : 503,
            body: { error: { code: "X", message: "y" } },
          };
        },
      });
      await backend.queue.publish(envelope("stp_1", "retrieval", { query: "x", documents }));
      await ended("stp_1");
      expect(gateway.results()).toMatchObject([{ body: { status: "completed" } }]);
    });

    it("hands its jobs back when it drains, and another worker finishes them, uncounted [drain.released]", async () => {
      const started = Promise.withResolvers<void>();
      const stuck = { retrieval: () => (started.resolve(), new Promise<never>(() => {})) };
      const { runtime } = await start({}, { handlers: stuck });
      await backend.queue.publish(envelope("stp_1", "retrieval", { query: "x", documents }));
      await started.promise;
      // The handler never listens to its signal: drain must not wait for it for ever.
      const drained = runtime.drain(50);
      await drained;
      const otherHome = await backends.backend(room);
      const other = composeWorker({ backend: otherHome, controlPlane: gateway, artifacts: folder });
      await other.ended("stp_1");
      await other.close();
      await otherHome.close();
      expect(gateway.results()).toHaveLength(1);
      expect(gateway.results()[0]).toMatchObject({ body: { status: "completed" } });
    });
  },
);
