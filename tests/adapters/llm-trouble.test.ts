import { describe, expect, test } from "vitest";
import { createModels } from "../../adapters/llm/models.ts";
import { answerJson } from "../support/answer-json.ts";
import { plain } from "../support/model-requests.ts";
import { useVendors, type VendorServer, vendorProviders } from "../support/vendor-server.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();

function vendorError(message: string) {
  return { type: "error", error: { type: "some_error", message, param: null, code: null } };
}

describe.each([
  ["openai", "gpt-4o"],
  ["anthropic", "claude-sonnet-4-20250514"],
])("trouble with %s", (provider, model) => {
  test.each([
    [400, "model_failed", false],
    // Nothing was begun: the step is held until the key is put right.
    [401, "unauthorized", true],
    [403, "unauthorized", true],
    [404, "not_found", false],
    [408, "unavailable", true],
    [413, "too_large", false],
    [429, "rate_limited", true],
    [500, "unavailable", true],
    [503, "unavailable", true],
    [529, "unavailable", true],
  ])("status %d is %s, retryable: %s, and is asked once", async (status, kind, retryable) => {
    const { models, seen } = await vendor(
      answerJson(vendorError("key sk-test-12345 is bad"), status),
    );
    const outcome = await models.complete(plain(model), never);
    expect(outcome).toMatchObject({ ok: false, failure: { kind, retryable } });
    expect(seen).toHaveLength(1);
    const message = outcome.ok ? "" : outcome.failure.message;
    expect(message).toContain(provider);
    if (kind === "unauthorized") {
      expect(message).not.toContain("sk-");
      expect(message).toContain(`${provider.toUpperCase()}_API_KEY`);
    }
  });

  test.each([400, 429, 500])(
    "status %d keeps the vendor's words, without our key",
    async (status) => {
      const key = provider === "openai" ? "sk-test-openai" : "sk-ant-test";
      const said = `the key ${key} met a limit 😀`.padEnd(5_000, "😀");
      const { models } = await vendor(answerJson(vendorError(said), status));
      const outcome = await models.complete(plain(model), never);
      const message = outcome.ok ? "" : outcome.failure.message;
      expect(message).toContain("met a limit");
      expect(message).not.toContain(key);
      expect(message.length).toBeLessThan(700);
      expect(message.isWellFormed()).toBe(true);
    },
  );

  test.each([
    [{ error: "words as they are" }],
    [{ error: { message: "words as they are" } }],
    [[{ error: { code: 400, message: "words as they are", status: "INVALID_ARGUMENT" } }]],
    [{ object: "error", message: "words as they are", type: "invalid", code: "3000" }],
    [{ detail: "words as they are" }],
    [{ detail: [{ loc: ["body"], msg: "words as they are" }] }],
    [{ statusCode: 400, message: "words as they are" }],
    ["words as they are"],
  ])("an error of the form %j keeps its words", async (body) => {
    const { models } = await vendor(answerJson(body, 400));
    expect(await models.complete(plain(model), never)).toMatchObject({
      failure: {
        kind: "model_failed",
        message: expect.stringContaining("words as they are"),
        details: { reason: "bad_request", status: 400 },
      },
    });
  });

  test("an error in plain text, or without a word, is one all the same", async () => {
    const { models } = await vendor((response) => {
      response.writeHead(502, { "content-type": "text/html" });
      response.end("<h1>Bad Gateway</h1>");
    });
    expect(await models.complete(plain(model), never)).toMatchObject({
      failure: { kind: "unavailable", message: expect.stringContaining("Bad Gateway") },
    });
    const mute = await vendor((response) => {
      response.writeHead(429, { "retry-after-ms": "1500" });
      response.end();
    });
    expect(await mute.models.complete(plain(model), never)).toMatchObject({
      failure: { kind: "rate_limited", retryAfterMs: 1_500, message: `${provider} answered 429` },
    });
  });

  test.each([400, 401, 403, 404, 409, 422])(
    "a page with status %d is not the provider's: it is tried again, and is no step's fault [llm.in-its-place]",
    async (status) => {
      const { models } = await vendor((response) => {
        response.writeHead(status, { "content-type": "text/html" });
        response.end("<html>please log in</html>");
      });
      expect(await models.complete(plain(model), never)).toMatchObject({
        failure: {
          kind: "unavailable",
          retryable: true,
          message: expect.stringContaining("please log in"),
        },
      });
    },
  );

  test("an account without money is not asked again", async () => {
    const error = { type: "insufficient_quota", code: "insufficient_quota", message: "pay first" };
    const { models } = await vendor(answerJson({ error }, 429));
    const outcome = await models.complete(plain(model), never);
    expect(outcome).toMatchObject({
      failure: { kind: "model_failed", retryable: false, details: { reason: "quota" } },
    });
    expect(outcome.ok ? "" : outcome.failure.message).toContain("pay first");
  });

  test("a redirect is not followed: the prompt goes to nobody else", async () => {
    const other = await vendor(answerJson({}));
    const address = other.server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const { models } = await vendor((response) => {
      response.writeHead(307, { location: `http://127.0.0.1:${port}/v1/chat/completions` });
      response.end();
    });
    expect(await models.complete(plain(model), never)).toMatchObject({
      failure: { kind: "unavailable", retryable: true },
    });
    expect(other.seen).toEqual([]);
  });

  test("an answer without end is cut off by its size", async () => {
    let written = 0;
    const { models } = await vendor((response) => {
      response.writeHead(200, { "content-type": "application/json" });
      const chunk = Buffer.alloc(1024 * 1024, " ");
      const flood = () => {
        while (!response.destroyed && response.write(chunk)) written += 1;
        written += 1;
      };
      response.on("drain", flood);
      response.on("error", () => {});
      flood();
    });
    expect(await models.complete(plain(model), never)).toMatchObject({
      failure: { kind: "invalid_output", retryable: false },
    });
    expect(written).toBeLessThan(64);
  });

  test.each([
    ["7", 7000],
    ["soon", undefined],
  ])("Retry-After %j is %s ms of advice", async (value, expected) => {
    const { models } = await vendor(answerJson(vendorError("slow"), 429, { "retry-after": value }));
    const outcome = await models.complete(plain(model), never);
    expect(outcome.ok ? null : outcome.failure.retryAfterMs).toBe(expected);
  });

  test("a server that never answers, or stops half-way, is unavailable in time", async () => {
    const silent = await vendor(() => {});
    const halting = await vendor((response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.write('{"id":');
    });
    const impatient = ({ url }: VendorServer) =>
      createModels({ providers: vendorProviders(url, { idleMs: 1_500, totalMs: 2_000 }) });
    const outcomes = await Promise.all([
      impatient(silent).complete(plain(model), never),
      impatient(halting).complete(plain(model), never),
    ]);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ failure: { kind: "unavailable", retryable: true } });
    }
  });

  test("a connection that breaks, or is refused, is unavailable", async () => {
    const breaking = await vendor((response) => response.destroy());
    const torn = await vendor((response) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": "500" });
      response.write('{"id":');
      setTimeout(() => response.destroy(), 20);
    });
    const closed = await vendor(() => {});
    closed.server.close();
    for (const { models } of [breaking, torn, closed]) {
      expect(await models.complete(plain(model), never)).toMatchObject({
        failure: { kind: "unavailable", retryable: true },
      });
    }
  });

  test("is nothing but a cancellation once we call it off", async () => {
    const { models } = await vendor(() => {});
    const stop = new AbortController();
    const running = models.complete(plain(model), stop.signal);
    setTimeout(() => stop.abort(), 50);
    expect(await running).toMatchObject({ failure: { kind: "cancelled", retryable: false } });
  });
});
