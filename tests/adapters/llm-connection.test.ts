import { execFile } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { plain } from "../support/model-requests.ts";
import { useHttpServers } from "../support/http-servers.ts";
import { useVendors } from "../support/vendor-server.ts";
import { answerStream, chatStream, streams } from "../support/vendor-streams.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();
const { serve } = useHttpServers();

const encoders: Record<string, (body: Buffer) => Buffer> = {
  gzip: gzipSync,
  "x-gzip": gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
  identity: (body) => body,
};
const encodings = fc.array(fc.constantFrom(...Object.keys(encoders)), {
  minLength: 1,
  maxLength: 4,
});
const encode = (names: readonly string[], text: string): Buffer =>
  names.reduce<Buffer>((body, name) => encoders[name]?.(body) ?? body, Buffer.from(text));

describe("an answer that a server compressed unasked [llm.encoded]", () => {
  test.each(streams)(
    "is read as if it had not been: $provider",
    async ({ provider, model, stream }) => {
      const said = stream({ text: ["Zwei ", "W\u00f6rter"] });
      await fc.assert(
        fc.asyncProperty(encodings, fc.integer({ min: 1, max: 200 }), async (names, size) => {
          const { models } = await vendor((response) => {
            response.writeHead(200, { "content-encoding": names.join(", ") });
            const body = encode(names, said);
            for (let at = 0; at < body.length; at += size)
              response.write(body.subarray(at, at + size));
            response.end();
          });
          const outcome = await models.complete(plain(`${provider}/${model}`), never);
          expect(outcome).toMatchObject({ ok: true, value: { content: "Zwei W\u00f6rter" } });
        }),
        { numRuns: 20 },
      );
    },
  );

  it("tells its error, too", async () => {
    const { models } = await vendor((response) => {
      response.writeHead(400, { "content-encoding": "gzip" });
      response.end(gzipSync(JSON.stringify({ error: { message: "no such model" } })));
    });
    const outcome = await models.complete(plain("chat/gpt-4o"), never);
    expect(outcome).toMatchObject({ ok: false });
    expect(JSON.stringify(outcome)).toContain("no such model");
  });

  it.each([
    ["broken off", (body: Buffer) => body.subarray(0, body.length / 2), "gzip"],
    ["of another kind than it says", (body: Buffer) => body, "br"],
    ["of a kind that nobody knows", (body: Buffer) => body, "rot13"],
    ["encoded more often than anybody would", (body: Buffer) => body, "gzip, ".repeat(6)],
  ])("and that is %s is a failure that may be tried again", async (_, spoil, encoding) => {
    const { models } = await vendor((response) => {
      response.writeHead(200, { "content-encoding": encoding });
      response.end(spoil(gzipSync(chatStream({ text: ["done"] }))));
    });
    const outcome = await models.complete(plain("chat/gpt-4o"), never);
    expect(outcome).toMatchObject({ ok: false, failure: { retryable: true } });
  });

  it("and that is too long once it is decoded is not read to its end", async () => {
    const { models } = await vendor((response) => {
      response.writeHead(200, { "content-encoding": "gzip" });
      response.end(gzipSync(Buffer.alloc(64 * 1024 * 1024, " ")));
    });
    const outcome = await models.complete(plain("chat/gpt-4o"), never);
    expect(JSON.stringify(outcome)).toContain("longer than 16777216 bytes");
  });
});

it("a header that is not ASCII takes no answer away [llm.encoded]", async () => {
  const { models } = await vendor((response) => {
    response.socket?.write(
      Buffer.concat([
        Buffer.from("HTTP/1.1 200 OK\r\nx-served-by: "),
        Buffer.from("M\u00fcnchen \u{1F600}\r\nX-Twice: a\r\nx-twice: b\r\n"),
        Buffer.from("connection: close\r\n\r\n"),
        Buffer.from(chatStream({ text: ["done"] })),
      ]),
    );
    response.socket?.end();
  });
  const outcome = await models.complete(plain("chat/gpt-4o"), never);
  expect(outcome).toMatchObject({ ok: true, value: { content: "done" } });
});

it("a worker whose Node uses the environment's proxy reaches its models through it [llm.proxy]", async () => {
  const { url } = await vendor(answerStream(chatStream({ text: ["through it"] })));
  const asked: string[] = [];
  const proxy = await serve((request, response) => {
    asked.push(request.url ?? "");
    answerStream(chatStream({ text: ["through it"] }))(response);
  });
  proxy.server.on("connect", (request, socket: Socket) => {
    asked.push(request.url ?? "");
    const there = connect(Number(new URL(url).port), "127.0.0.1");
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
    socket.pipe(there).pipe(socket);
    void once(socket, "close").then(() => there.destroy());
  });
  const models = pathToFileURL(join(import.meta.dirname, "../../adapters/llm/models.ts")).href;
  const code = `
    import { createModels } from ${JSON.stringify(models)};
    const provider = { name: "chat", kind: "openai", apiKey: "k", keyVariable: "K", totalMs: 20_000, idleMs: 20_000,
      baseUrl: "http://models.invalid/v1" };
    const request = { model: "chat/gpt-4o", messages: [{ role: "user", content: "go" }] };
    const outcome = await createModels({ providers: [provider] }).complete(request, new AbortController().signal);
    process.stdout.write(JSON.stringify(outcome));
    process.exit();
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "-e", code],
    { env: { PATH: process.env["PATH"], NODE_USE_ENV_PROXY: "1", HTTP_PROXY: proxy.url } },
  );
  expect(JSON.parse(stdout)).toMatchObject({ ok: true, value: { content: "through it" } });
  expect(asked.join()).toContain("models.invalid");
});
