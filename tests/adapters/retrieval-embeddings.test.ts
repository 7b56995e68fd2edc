import type { RequestListener } from "node:http";
import { expect, test } from "vitest";
import { createOpenaiEmbedder } from "../../adapters/llm/openai-embeddings.ts";
import { useHttpServers } from "../support/http-servers.ts";

const never = new AbortController().signal;
const servers = useHttpServers();

async function embedderOf(listener: RequestListener, totalMs = 5_000) {
  const { url } = await servers.serve(listener);
  const provider = {
    name: "mine",
    kind: "openai-compatible" as const,
    apiKey: "sk-secret-key-0123456789",
    keyVariable: "MINE_KEY",
    baseUrl: `${url}/v1`,
    totalMs,
    idleMs: totalMs,
  };
  return createOpenaiEmbedder({ provider, model: "small", dimensions: 2 });
}

test("asks for the vectors of all texts at once, and puts them in order, of length 1 [retrieval.embeddings]", async () => {
  const seen: unknown[] = [];
  const embedder = await embedderOf((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      seen.push([request.url, request.headers.authorization, JSON.parse(body)]);
      response.end(
        '{"object":"list","data":[{"index":1,"embedding":[0,5]},{"index":0,"embedding":[3,4]}]}',
      );
    });
  });
  const made = await embedder.embed(["a", "b"], never);
  expect(made.ok && made.value.map((vector) => [...vector])).toEqual([
    [Math.fround(0.6), Math.fround(0.8)],
    [0, 1],
  ]);
  expect(seen).toEqual([
    [
      "/v1/embeddings",
      "Bearer sk-secret-key-0123456789",
      { model: "small", input: ["a", "b"], encoding_format: "float", dimensions: 2 },
    ],
  ]);
});

test.each([
  [401, '{"error":{"message":"bad key sk-secret-key-0123456789"}}', "unauthorized", false],
  [429, '{"error":{"message":"slow down"}}', "rate_limited", true],
  [500, "oops", "unavailable", true],
  [302, "", "unavailable", true],
  [404, '{"error":{"message":"no such model"}}', "not_found", false],
  [200, "<html>log in</html>", "unavailable", true],
  [200, '{"data":[{"index":0,"embedding":[1,2]}]}', "model_failed", false],
  [
    200,
    '{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[1]}]}',
    "model_failed",
    false,
  ],
  [
    200,
    '{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[0,0]}]}',
    "model_failed",
    false,
  ],
  [
    200,
    '{"data":[{"index":0,"embedding":[1,2,3]},{"index":1,"embedding":[1,2,3]}]}',
    "model_failed",
    false,
  ],
  [
    200,
    '{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[1e999,0]}]}',
    "model_failed",
    false,
  ],
  [200, '{"data":"none"}', "model_failed", false],
])(
  "takes %d %s for %s, asks once, and tells no key [retrieval.embeddings]",
  async (status, body, kind, retryable) => {
    let asked = 0;
    const embedder = await embedderOf((_, response) => {
      asked += 1;
      response.writeHead(status, status === 302 ? { location: "/elsewhere" } : {});
      response.end(body);
    });
    const made = await embedder.embed(["a", "b"], never);
    expect(made).toMatchObject({ ok: false, failure: { kind, retryable } });
    expect(JSON.stringify(made)).not.toContain("secret-key");
    expect(asked).toBe(1);
  },
);

test("takes numbers whose squares are no numbers, and a vector of any length [retrieval.embeddings]", async () => {
  const embedder = await embedderOf((_, response) =>
    response.end(
      '{"data":[{"index":0,"embedding":[1.7e308,1.7e308]},{"index":1,"embedding":[0,1e-300]}]}',
    ),
  );
  const made = await embedder.embed(["a", "b"], never);
  const half = Math.fround(Math.SQRT1_2);
  expect(made.ok && made.value.map((one) => [...one])).toEqual([
    [half, half],
    [0, 1],
  ]);
  const long = await embedderOf((_, response) =>
    response.end(JSON.stringify({ data: [{ index: 0, embedding: Array(300_000).fill(1) }] })),
  );
  const failed = await long.embed(["a"], never);
  expect(failed).toMatchObject({ ok: false, failure: { kind: "model_failed" } });
  expect(JSON.stringify(failed)).toContain("expected vectors of 2 dimensions and got 300000");
});

test("a silent or absent provider may pass, and a cancelled call is ours [retrieval.embeddings]", async () => {
  const silent = await embedderOf(() => {}, 200);
  expect(await silent.embed(["a"], never)).toMatchObject({ failure: { retryable: true } });
  const stop = new AbortController();
  const slow = await embedderOf(() => stop.abort());
  expect(await slow.embed(["a"], stop.signal)).toMatchObject({ failure: { kind: "cancelled" } });
});
