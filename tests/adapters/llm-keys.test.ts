import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createFallbacks } from "../../adapters/llm/fallbacks.ts";
import { createModels } from "../../adapters/llm/models.ts";
import { retryable, troubleOf } from "../../machines/contracts/domain/failure.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import { agentModel } from "../support/agent-world.ts";
import { answerJson } from "../support/answer-json.ts";
import { sqliteBackends } from "../support/backends.ts";
import { chatCompletion } from "../support/chat-completion.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";
import { plain } from "../support/model-requests.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();
const wrong = { error: { message: "Incorrect API key provided", code: "invalid_api_key" } };
const hello = answerJson(chatCompletion({ content: "hi" }, "stop"));

describe("a provider that refuses the key", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  const refusal = {
    failure: {
      kind: "unauthorized",
      retryable: true,
      untried: true,
      retryAfterMs: 60_000,
      message: expect.stringContaining("Incorrect API key"),
      details: { reason: "auth", provider: "openai", status: 401 },
    },
  };

  test("is asked once a minute, and again by all once it takes the key [llm.refused-key]", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    let isWell = false;
    const { models, seen } = await vendor((response) =>
      isWell ? hello(response) : answerJson(wrong, 401)(response),
    );
    const ask = () => models.complete(plain("gpt-4o"), never);
    const first = await ask();
    expect(first).toMatchObject(refusal);
    expect(first.ok ? null : troubleOf(first.failure)).toBe("ours");
    for (const outcome of await Promise.all(Array.from({ length: 20 }, ask))) {
      expect(outcome).toMatchObject(refusal);
    }
    expect(seen).toHaveLength(1);
    vi.advanceTimersByTime(60_001);
    await Promise.all(Array.from({ length: 20 }, ask));
    expect(seen).toHaveLength(2);
    // Another provider is not touched by it.
    isWell = true;
    expect(await models.complete(plain("chat/gpt-4o"), never)).toMatchObject({ ok: true });
    expect(await ask()).toMatchObject(refusal);
    vi.advanceTimersByTime(60_001);
    expect(await ask()).toMatchObject({ ok: true });
    expect(await Promise.all(Array.from({ length: 5 }, ask))).toMatchObject(
      Array.from({ length: 5 }, () => ({ ok: true })),
    );
  });

  /** The one call of an agent's step, of which there may be many. */
  const call = (model: string, step: number) => ({
    ...plain(model),
    idempotencyKey: `step_${step}`,
  });
  const heldBack = { failure: { kind: "unauthorized", untried: true, details: { status: 403 } } };
  const forbidden = {
    failure: { kind: "forbidden", retryable: false, details: { reason: "auth", status: 403 } },
  };

  test("with a 403 may mean one call alone: only several in a row hold back those of its model [llm.refused-model]", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const answers = [403, 200, 403, 403, 200, 403, 403, 403];
    const { models, seen } = await vendor((response) =>
      answers[seen.length - 1] === 403 ? answerJson(wrong, 403)(response) : hello(response),
    );
    for (const [step, status] of answers.entries()) {
      const outcome = await models.complete(call("gpt-4o", step), never);
      expect(outcome).toMatchObject(status === 200 ? { ok: true } : heldBack);
    }
    expect(seen).toHaveLength(8);
    expect(await models.complete(call("gpt-4o", 8), never)).toMatchObject(heldBack);
    // A minute later it is not those that were refused who are let through, but whoever was not asked yet.
    vi.advanceTimersByTime(60_001);
    expect(await models.complete(call("gpt-4o", 7), never)).toMatchObject(heldBack);
    expect(seen).toHaveLength(8);
    expect(await models.complete(call("gpt-4o", 8), never)).toMatchObject({ ok: true });
    expect(await models.complete(call("gpt-4o", 9), never)).toMatchObject({ ok: true });
  });

  test("for what one call says fails its step once another was answered [llm.refused-model]", async () => {
    const { models, seen } = await vendor((response) =>
      seen.length % 2 === 1 ? answerJson(wrong, 403)(response) : hello(response),
    );
    const ask = (step: number) => models.complete(call("gpt-4o", step), never);
    expect(await ask(1)).toMatchObject(heldBack);
    expect(await ask(2)).toMatchObject({ ok: true });
    expect(await ask(1)).toMatchObject(forbidden);
  });

  test("for one model keeps no other from being asked, and fails the step once another was answered [llm.refused-model]", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { models, seen } = await vendor((response) =>
      seen.at(-1)?.body["model"] === "good" ? hello(response) : answerJson(wrong, 403)(response),
    );
    const ask = (model: string) => models.complete(call(`openai/${model}`, seen.length), never);
    const asked = () => seen.filter(({ body }) => body["model"] === "forbidden").length;
    for (let minute = 0; minute < 10; minute += 1) {
      for (let step = 0; step < 5; step += 1) {
        expect(await ask("forbidden")).toMatchObject(heldBack);
      }
      expect(asked()).toBe(3 + minute);
      vi.advanceTimersByTime(61_000);
    }
    expect(await ask("good")).toMatchObject({ ok: true });
    expect(await ask("forbidden")).toMatchObject(forbidden);
    expect(await ask("forbidden")).toMatchObject(forbidden);
    expect(await ask("good")).toMatchObject({ ok: true });
    // An hour later it may have been withdrawn.
    vi.advanceTimersByTime(3_600_001);
    expect(await ask("forbidden")).toMatchObject(heldBack);
  });

  test("for one model after another may be the key's: their steps wait [llm.refused-model]", async () => {
    let isWell = true;
    const { models } = await vendor((response) =>
      isWell ? hello(response) : answerJson(wrong, 403)(response),
    );
    const ask = (model: string) => models.complete(call(`openai/${model}`, 0), never);
    for (const model of ["a", "b", "c"]) expect(await ask(model)).toMatchObject({ ok: true });
    isWell = false;
    // Of the first one nobody can tell.
    expect(await ask("a")).toMatchObject(forbidden);
    for (const model of ["b", "c", "b"]) expect(await ask(model)).toMatchObject(heldBack);
    isWell = true;
    expect(await ask("b")).toMatchObject({ ok: true });
    expect(await ask("c")).toMatchObject({ ok: true });
  });

  test("in the middle of an answer is not asked again for nothing: that was paid for [llm.refused-key]", async () => {
    const { models } = await vendor(answerJson({ error: wrong.error }));
    const outcome = await models.complete(plain("gpt-4o"), never);
    expect(outcome).toMatchObject({
      failure: { kind: "unauthorized", retryable: false, details: { usage: {} } },
    });
    expect(outcome).not.toHaveProperty("failure.untried");
  });

  test("leaves a chain untried only where nobody in it was asked in earnest [llm.refused-key]", async () => {
    const { url } = await vendor(answerJson(wrong, 401));
    const down = await vendor(answerJson({ error: { message: "down" } }, 500));
    const providers = [
      ...vendorProviders(url).filter(({ name }) => name !== "anthropic"),
      ...vendorProviders(down.url).filter(({ name }) => name === "anthropic"),
    ];
    const models = createFallbacks(createModels({ providers }), {
      "openai/a": [{ model: "chat/b" }],
      "anthropic/c": [{ model: "chat/b" }],
    });
    const untried = await models.complete(plain("openai/a"), never);
    expect(untried).toMatchObject({
      failure: { untried: true, details: { attempts: [{ reason: "auth", status: 401 }] } },
    });
    const tried = await models.complete(plain("anthropic/c"), never);
    expect(tried).toMatchObject({ failure: { kind: "unauthorized", retryable: true } });
    expect(tried).not.toHaveProperty("failure.untried");
  });
});

describe("steps of a provider that can't be asked", () => {
  let scene: HumanScene;
  beforeEach(async () => {
    scene = await humanScene(sqliteBackends());
  });
  afterEach(() => scene.close());

  const held = (reason: "auth" | "circuit_open") => ({
    ...retryable(reason === "auth" ? "unauthorized" : "unavailable", "Incorrect API key", 100),
    untried: true as const,
    details: { reason, provider: "refusing", status: 401 },
  });

  test.each(["auth", "circuit_open"] as const)(
    "wait put away, uncounted, and hold up no other provider's: %s [llm.held-steps]",
    async (reason) => {
      let isWell = false;
      let asked = 0;
      const good = agentModel([{ content: "Done." }]).models;
      const models: ModelProvider = {
        complete: async (request, signal) => {
          if (request.messages.at(-1)?.content === "good") return good.complete(request, signal);
          asked += 1;
          return isWell ? good.complete(request, signal) : { ok: false, failure: held(reason) };
        },
      };
      const lines: string[] = [];
      const say = (_: object, message: string) => void lines.push(message);
      const log = { debug() {}, info: say, warn: say, error: say };
      const options = { capacity: 1, bulkheads: { llm: 1 } };
      await scene.worker(options, () => ({ models, log }));
      const step = (prompt: string) => ({ type: "llm", input: { prompt } }) as const;
      const waiting = await Promise.all(
        Array.from({ length: 5 }, () => scene.run([step("refused")])),
      );
      await vi.waitFor(() => expect(asked).toBeGreaterThan(15), { timeout: 20_000, interval: 50 });
      const other = await scene.run([step("good")]);
      expect(await scene.ended(other.runId, other.stepIds[0] ?? "")).toMatchObject({
        status: "completed",
      });
      isWell = true;
      for (const { runId, stepIds } of waiting) {
        const ended = await scene.ended(runId, stepIds[0] ?? "");
        expect(ended).toMatchObject({ status: "completed", output: { response: "Done." } });
      }
      const said = lines.filter((line) => line.includes("the model provider refusing refuses"));
      expect(said).toHaveLength(reason === "auth" ? 1 : 0);
    },
  );

  test("longer than the run's wall time are not ended by it [budget.held]", async () => {
    let asked = 0;
    let isWell = false;
    const good = agentModel([{ content: "Done." }]).models;
    const models: ModelProvider = {
      complete: async (request, signal) => {
        asked += 1;
        return isWell ? good.complete(request, signal) : { ok: false, failure: held("auth") };
      },
    };
    await scene.worker({}, () => ({ models }));
    const waiting = await scene.run([{ type: "llm", input: { prompt: "refused" } }]);
    for (const looks of [1, 2]) {
      await vi.waitFor(() => expect(asked).toBe(looks), { timeout: 20_000, interval: 10 });
      await scene.idle();
      // Whoever looks at the step is told what it waits for.
      const record = await scene.backend.store.find({
        runId: waiting.runId,
        stepId: waiting.stepIds[0] ?? "",
      });
      expect(record).toMatchObject({
        phase: "parked",
        snapshot: { snapshot: { context: { waitsFor: "unauthorized: Incorrect API key" } } },
      });
      // More than the five minutes that a run has by default.
      scene.pass(400_000);
    }
    isWell = true;
    const ended = await scene.ended(waiting.runId, waiting.stepIds[0] ?? "");
    expect(ended).toMatchObject({ status: "completed", output: { response: "Done." } });
  });
});

test("the key in pieces is not told either [llm.key-parts]", async () => {
  const key = "sk-test-openai-0123456789";
  let said = "";
  const { url } = await vendor((response) =>
    answerJson({ error: { message: said } }, 400)(response),
  );
  const [provider] = vendorProviders(url).filter(({ name }) => name === "openai");
  if (provider === undefined) throw new Error("no such provider");
  const models = createModels({ providers: [{ ...provider, apiKey: key }] });
  const digits = "0123456789";
  for (const between of [" ", "\u200b", '","', ".", "\n", " - "]) {
    for (const size of [1, 3, 7]) {
      said = `bad request by ${key.match(new RegExp(`.{1,${size}}`, "gu"))?.join(between)} today`;
      const outcome = await models.complete(plain("openai/gpt-4o"), never);
      const message = outcome.ok ? "" : outcome.failure.message;
      expect(message).toContain("today");
      const letters = message.replaceAll(/[^A-Za-z0-9]/gu, "");
      expect(letters).not.toContain(digits.slice(0, 6));
    }
  }
});

test("a part of the key in a 400 that is about something else is not told [llm.key-parts]", async () => {
  const { models } = await vendor((response) => {
    response.writeHead(400, { "content-type": "application/json" });
    const message = "header Authorization=sk-test-opena is odd, and temperature too";
    response.end(JSON.stringify({ error: { message, type: "invalid_request_error" } }));
  });
  const outcome = await models.complete(plain("openai/gpt-4o"), new AbortController().signal);
  const said = outcome.ok ? "" : outcome.failure.message;
  expect(said).toContain("and temperature too");
  expect(said).not.toContain("sk-test-opena");
});
