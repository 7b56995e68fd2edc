import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { createModels } from "../../adapters/llm/models.ts";
import { createPricedModels } from "../../adapters/llm/priced-models.ts";
import { createPrices } from "../../adapters/llm/prices.ts";
import { createRecorded } from "../../adapters/llm/recorded.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { startTestPlane } from "../support/embedded-control-plane.ts";
import { agentTools } from "../support/agent-world.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { value } from "../support/value.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";
import { answerStream, chatStream } from "../support/vendor-streams.ts";

const { signal } = new AbortController();
const { vendor } = useVendors();
const folder = useTemporaryFolder();

/** A micro-dollar a token of input, two a token of output. */
const prices = createPrices({ overrides: { "gpt-4o": { input: 1, output: 2 } } });

/** One run with a budget, its model a recording; how it came out. */
async function run(file: string, budget: number, url: string | null) {
  const backend = await sqliteBackends().backend(`room${randomUUID().slice(0, 8)}`);
  const bare = createModels({
    providers: url === null ? [] : vendorProviders(url),
    recording: (live) =>
      createRecorded({ file, hide: (text) => text, live: url === null ? null : live }),
  });
  const models = createPricedModels(bare, { prices, strict: false, log: { warn() {} } });
  const plane = await startTestPlane({
    agents: [{ slug: "helper", model: "recorded/openai/gpt-4o", allowedTools: [] }],
    publish: (fields) => backend.queue.publish(fields),
    now: Date.now,
  });
  const worker = composeWorker({
    backend,
    controlPlane: { url: plane.url, apiKey: "test-key" },
    artifacts: folder,
    ports: { models, prices, tools: agentTools([]).tools },
  });
  try {
    const { runId, stepId } = await plane.createRun(
      { task: "What is a lease?", max_tokens: 100 },
      { budget: { max_cost_micros: budget } },
    );
    await worker.ended(stepId);
    const [step] = value(await plane.api.steps(runId, signal));
    return { run: value(await plane.api.run(runId, signal)), step };
  } finally {
    await worker.close();
    await plane.close();
    await backend.close();
  }
}

it("a call that is recorded live is reserved as any other, and one that is played back costs nothing [budget.recording]", async () => {
  const file = join(folder, `${randomUUID()}.jsonl`);
  const { url, seen } = await vendor(answerStream(chatStream({ text: ["A right."] })));

  // Two hundred micro-dollars for the longest answer alone.
  const refused = await run(file, 150, url);
  expect(refused.step).toMatchObject({
    status: "failed",
    error: {
      kind: "budget_exceeded",
      details: { scope: "run", limit: "max_cost_micros", most: 150 },
    },
  });
  expect([seen.length, existsSync(file), refused.run.cost_micros]).toEqual([0, false, 0]);

  const recorded = await run(file, 5_000, url);
  expect(recorded.step).toMatchObject({ status: "completed", output: { response: "A right." } });
  expect(seen).toHaveLength(1);
  const { input_tokens: input = 0, output_tokens: output = 0 } = recorded.run;
  expect(recorded.run.cost_micros).toBe(Number(input) + 2 * Number(output));
  expect(recorded.run.cost_micros).toBeGreaterThan(0);

  const played = await run(file, 1, null);
  expect(played.step).toMatchObject({ status: "completed", output: { response: "A right." } });
  expect(seen).toHaveLength(1);
});
