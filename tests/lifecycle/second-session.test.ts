import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import { fail, ok, retryable } from "../../machines/contracts/domain/failure.ts";
import { noNeighbours } from "../kit/live-once.ts";
import { type Scene, startScene } from "../support/bare-plane.ts";

/*
 * A step that was asked about and answered comes back in a second session, from a job that the gateway wrote anew. What
 * the first session knew must hold in the second; what it counted must not be counted against it.
 */

const job = { stepType: "tool", input: { tool_name: "look", tool_input: { id: 1 } } };
const key = { runId: "run_1", stepId: "stp_1" };
const tool = {
  name: "look",
  server: "own",
  digest: "d",
  address: "look",
  description: "",
  inputSchema: {},
  outputSchema: null,
  safeToRepeat: false,
  readOnly: false,
};

let scene: Scene;
/** Failures of the tool's server, before it answers. */
let failures: number;
/** What the tool does. */
let works: StepHandler;
let calls: number;

beforeEach(async () => {
  failures = 0;
  calls = 0;
  works = async () => ({ kind: "done", output: "done" });
  const describe = async () =>
    failures-- > 0 ? fail(retryable("unavailable", "the server starts")) : ok(tool);
  const limits = { maxAttempts: 3, maxRepairs: 0, baseDelayMs: 100, maxDelayMs: 1_000 };
  scene = await startScene(randomUUID(), {
    totalMs: 60_000,
    ports: { tools: { ...noNeighbours.tools, describe } },
    options: {
      allowlist: { allowed: [], approvalRequired: ["look"], denied: [] },
      limits: { ...limits, parkAfterMs: 90_000 },
    },
    handler: async (scope) => {
      calls += 1;
      return works(scope);
    },
  });
});
afterEach(() => scene.close());

const asked = async () => {
  await scene.deliver(job, 1);
  expect(scene.plane.stepStatus).toBe("waiting_approval");
  expect(calls).toBe(0);
};

/** As the gateway does: the step runs again, and a new job with the time of now is put on the stream. */
const approve = async () => {
  scene.plane.stepStatus = "running";
  scene.plane.runStatus = "running";
  await scene.deliver(job, 1);
};

it("a result made after an approval is not sent to a run that was cancelled meanwhile [ended.quiet]", async () => {
  works = async () => {
    scene.plane.runStatus = "cancelled";
    return { kind: "done", output: "done" };
  };
  await asked();
  await approve();
  expect(calls).toBe(1);
  expect(scene.plane.runStatus).toBe("cancelled");
  expect(scene.plane.applied.map(({ body }) => body.status)).toEqual(["waiting_approval"]);
  expect((await scene.backend.store.find(key))?.phase).toBe("reported");
});

it("a step that was ended instead of approved is no longer open: it is settled, and does nothing [approval.exact]", async () => {
  await asked();
  scene.plane.runGoesOn = true;
  scene.plane.runStatus = "running";
  scene.plane.stepStatus = "failed";
  await scene.deliver(job, 1);
  expect(calls).toBe(0);
  expect(scene.plane.applied).toHaveLength(1);
  expect((await scene.backend.store.find(key))?.phase).toBe("reported");
});

it("the total deadline counts from the first job's time, not from that of the job put back after the approval [park.deadline]", async () => {
  const begun = scene.clock.now();
  works = ({ signal }) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  await asked();
  await scene.pass(40_000 - (scene.clock.now() - begun));
  await approve();
  expect(calls).toBe(1);
  expect(scene.plane.applied.at(-1)?.body.status).toBe("failed");
  expect(scene.clock.now() - begun).toBeLessThan(65_000);
});

it("checks of policy that failed before the approval are not counted against those after it [policy.holds]", async () => {
  failures = 2;
  await asked();
  failures = 2;
  await approve();
  expect(calls).toBe(1);
  expect(scene.plane.applied.at(-1)?.body.status).toBe("completed");
});
