import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createModels } from "../../adapters/llm/models.ts";
import { createPricedModels } from "../../adapters/llm/priced-models.ts";
import { createPrices } from "../../adapters/llm/prices.ts";
import type { FailureKind } from "../../machines/contracts/domain/failure.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { answerJson } from "../support/answer-json.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";
import { wholes } from "../support/vendor-wholes.ts";

const backends = sqliteBackends();
const { vendor } = useVendors();
let folder: string;
let backend: StepBackend;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-test-"));
  backend = await backends.backend(`room${randomUUID().slice(0, 8)}`);
});
afterEach(async () => {
  await backend.close();
  await rm(folder, { recursive: true, force: true });
});

/** An llm step with this input, on a worker whose OpenAI key is missing and whose models must have a price. */
async function runStep(input: JsonObject) {
  const { url, seen } = await vendor(answerJson(wholes.anthropic({ text: ["hello"] })));
  const prices = createPrices();
  const providers = vendorProviders(url).map((provider) =>
    provider.name === "openai" ? { ...provider, apiKey: null } : provider,
  );
  const options = { prices, strict: true, log: { warn() {} } };
  const models = createPricedModels(createModels({ providers }), options);
  const gateway = await startFerrumDeckGateway();
  const worker = composeWorker({
    backend,
    controlPlane: gateway,
    artifacts: folder,
    ports: { models, prices },
  });
  const ids = { runId: "run_1", stepId: "stp_1", traceId: null, spanId: null };
  const nobody = { tenantId: null, projectId: null, agentId: null, createdAt: Date.now() };
  await backend.queue.publish({ data: toEnvelope({ ...ids, ...nobody, stepType: "llm", input }) });
  await worker.ended("stp_1");
  const body = gateway.results().at(-1)?.body;
  await worker.close();
  await gateway.close();
  return { seen, body };
}

const good = { task: "x", model: "anthropic/claude-sonnet-4-20250514" };

it("that is good is paid for: the table below is no accident", async () => {
  const { seen, body } = await runStep(good);
  expect(body).toMatchObject({ status: "completed" });
  expect(seen).toHaveLength(1);
});

it.each<[string, JsonObject, FailureKind, RegExp]>([
  ["no key", { model: "openai/gpt-4o" }, "unauthorized", /OPENAI_API_KEY/],
  ["an unknown model", { model: "best-model" }, "invalid_input", /"best-model" is unknown/],
  ["an unknown provider", { model: "nobody/m" }, "invalid_input", /"nobody\/m"/],
  ["a model without a price", { model: "anthropic/m" }, "invalid_input", /no price/],
  ["a model that is no text", { model: 7 }, "invalid_input", /model must be/],
  [
    "a schema that is not one",
    { output_schema: { type: "texts" } },
    "invalid_input",
    /output_schema/,
  ],
  [
    "a schema that is no object",
    { output_schema: "object" },
    "invalid_input",
    /output_schema must be/,
  ],
  ["messages that are no list", { messages: "hi" }, "invalid_input", /messages must be/],
  ["a message without a role", { messages: [{ content: "hi" }] }, "invalid_input", /messages\[0\]/],
  [
    "a message of a strange part",
    { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
    "invalid_input",
    /messages\[0\]/,
  ],
  [
    "a tool's turn without its call",
    { messages: [{ role: "tool", content: "x" }] },
    "invalid_input",
    /messages\[0\]/,
  ],
  ["no room for an answer", { max_tokens: 0 }, "invalid_input", /max_tokens must be/],
  ["a temperature out of range", { temperature: 3 }, "invalid_input", /temperature must be/],
  [
    "a budget that is no number",
    { budget: { max_cost_cents: "5" } },
    "invalid_input",
    /budget\.max_cost_cents/,
  ],
  [
    "a budget below nothing",
    { budget: { max_cost_micros: -1 } },
    "invalid_input",
    /budget\.max_cost_micros/,
  ],
])("with %s fails by name, and nothing is paid [input.unpaid]", async (_, input, kind, message) => {
  const { seen, body } = await runStep({ ...good, ...input });
  expect(body).toMatchObject({
    status: "failed",
    error: { kind, message: expect.stringMatching(message) },
  });
  expect(seen).toHaveLength(0);
});
