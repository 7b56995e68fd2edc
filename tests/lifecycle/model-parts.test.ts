import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { ModelPartNotice } from "../../actors/options.ts";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { value } from "../support/value.ts";
import { useVendors } from "../support/vendor-server.ts";
import { answerStream, chatStream } from "../support/vendor-streams.ts";

const { signal } = new AbortController();
const { vendor } = useVendors();
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

/** A worker whose step asks a model that streams; how the step came out. */
async function runStep(onModelPart: (notice: ModelPartNotice) => void | Promise<void>, broken = 0) {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-parts-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const backend = await sqliteBackends().backend(`room${randomUUID().slice(0, 8)}`);
  const gateway = await startFerrumDeckGateway({
    publish: (fields) => void backend.queue.publish(fields),
  });
  cleanups.push(() => gateway.close());
  const spoken = { text: ["A lease ", "is a ", "right."] };
  const { models, seen } = await vendor((response) => {
    const until = { part: 0.5, after: "disconnect" } as const;
    const more = seen.length <= broken ? { until } : {};
    return answerStream(chatStream(spoken), { sizes: [50], ...more })(response);
  });
  const worker = composeWorker({
    backend,
    controlPlane: gateway,
    artifacts: folder,
    options: { onModelPart },
    ports: { models },
  });
  cleanups.push(() => worker.close());
  const api = createControlPlaneApi({ ...gateway, timeoutMs: 30_000 });
  cleanups.push(() => api.close());
  const input = { task: "What is a lease?", model: "gpt-4o" };
  const { id: runId } = value(await api.createRun({ agentId: "safe-pr-agent", input }, signal));
  const [step] = value(await api.steps(runId, signal));
  await worker.ended(step?.id ?? "");
  return { runId, stepId: step?.id, step: gateway.steps(runId)[0] };
}

it("an answer is told to the worker's listener as it comes, one part after the other [llm.parts]", async () => {
  const told: ModelPartNotice[] = [];
  let running = 0;
  const { runId, stepId, step } = await runStep(async (notice) => {
    running += 1;
    expect(running).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    told.push(notice);
    running -= 1;
  });
  expect(told).toEqual(
    ["A lease ", "is a ", "right."].map((text) => ({
      runId,
      stepId,
      part: { type: "text", text },
    })),
  );
  expect(step).toMatchObject({ status: "completed", output: { response: "A lease is a right." } });
});

it("a listener that fails costs the step nothing [llm.parts]", async () => {
  const { step } = await runStep(() => {
    throw new Error("the terminal is gone");
  });
  expect(step).toMatchObject({ status: "completed", output: { response: "A lease is a right." } });
});

it("what was told of an answer that broke off is said to be void before it is begun again [events.restart]", async () => {
  const told: ModelPartNotice[] = [];
  const { step } = await runStep((notice) => void told.push(notice), 1);
  expect(step).toMatchObject({ status: "completed" });
  const at = told.findIndex(({ part }) => part.type === "broken");
  expect(at).toBeGreaterThan(0);
  const texts = told
    .slice(at + 1)
    .map(({ part }) => (part.type === "text" ? part.text : part.type));
  expect(texts.join("")).toBe("A lease is a right.");
});
