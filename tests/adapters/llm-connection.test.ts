import { execFile } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  brotliCompressSync,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { plain } from "../support/model-requests.ts";
import { useHttpServers } from "../support/http-servers.ts";
import { listen } from "../support/listen.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";
import { createModels } from "../../adapters/llm/models.ts";
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

  it("and whose error has no body keeps what its status says", async () => {
    const { models } = await vendor((response) => {
      response.writeHead(401, { "content-encoding": "gzip" }).end();
    });
    const outcome = await models.complete(plain("chat/gpt-4o"), never);
    expect(outcome).toMatchObject({ ok: false, failure: { kind: "unauthorized" } });
  });

  it("and without zlib's header, as some servers do", async () => {
    const { models } = await vendor((response) => {
      response.writeHead(200, { "content-encoding": "deflate" });
      response.end(deflateRawSync(chatStream({ text: ["done"] })));
    });
    const outcome = await models.complete(plain("chat/gpt-4o"), never);
    expect(outcome).toMatchObject({ ok: true, value: { content: "done" } });
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

it.each(["205 Reset", "299 Gr\u00f6\u00dfe", "600 Odd", "999 \u{1F600}", "500 \u{1F600}"])(
  "whatever its status line is, an answer is an outcome: %s [llm.encoded]",
  async (line) => {
    const { models } = await vendor((response) => {
      const head = `HTTP/1.1 ${line}\r\nconnection: close\r\n\r\n`;
      response.socket?.end(Buffer.from(head + chatStream({ text: ["done"] })));
    });
    const outcome = await models.complete(plain("chat/gpt-4o"), never);
    expect(outcome.ok).toBe(line.startsWith("2"));
  },
);

describe("the connection of a call", () => {
  it("is used again by the next one, for every vendor [llm.connections]", async () => {
    for (const { provider, model, stream } of streams) {
      const { models, server } = await vendor(answerStream(stream({ text: ["done"] })));
      let connections = 0;
      server.on("connection", () => (connections += 1));
      for (let call = 0; call < 8; call += 1)
        expect(await models.complete(plain(`${provider}/${model}`), never)).toMatchObject({
          ok: true,
        });
      // The next call may begin while the last answer is read to its end.
      expect(connections).toBeLessThan(5);
    }
  });

  it("is closed where the server goes on after the end of its answer [llm.connections]", async () => {
    const { models, server } = await vendor((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(chatStream({ text: ["done"] }));
    });
    const sockets = new Set<Socket>();
    server.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    });
    for (let call = 0; call < 5; call += 1)
      expect((await models.complete(plain("openai/gpt-4o"), never)).ok).toBe(true);
    await expect.poll(() => sockets.size, { timeout: 15_000 }).toBe(0);
  });

  it("is not waited for by whom its time is over, nor by whom it is cancelled for [llm.connections]", async () => {
    // It takes connections and says nothing: a handshake without an end.
    const mute = createServer();
    const port = await listen(mute);
    const [first] = vendorProviders(`https://127.0.0.1:${port}`, { idleMs: 100 }).filter(
      ({ name }) => name === "chat",
    );
    const models = createModels({ providers: first === undefined ? [] : [first] });
    const late = await models.complete(plain("chat/gpt-4o"), never);
    expect(late).toMatchObject({ ok: false, failure: { details: { reason: "timeout" } } });
    const cancelled = AbortSignal.timeout(20);
    const outcome = await models.complete(plain("chat/gpt-4o"), cancelled);
    expect(outcome).toMatchObject({ ok: false, failure: { kind: "cancelled" } });
    mute.close();
  }, 8_000);
});

it.each(["http", "https"])(
  "a worker whose Node uses the environment's proxy reaches its models through it: %s [llm.proxy]",
  async (scheme) => {
    const { url } = await vendor(answerStream(chatStream({ text: ["through it"] })));
    const asked: string[] = [];
    const proxy = await serve((_, response) => response.writeHead(405).end());
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
      baseUrl: "${scheme}://models.invalid/v1" };
    const request = { model: "chat/gpt-4o", messages: [{ role: "user", content: "go" }] };
    const outcome = await createModels({ providers: [provider] }).complete(request, new AbortController().signal);
    process.stdout.write(JSON.stringify(outcome));
    process.exit();
  `;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "-e", code],
      {
        env: {
          PATH: process.env["PATH"],
          NODE_USE_ENV_PROXY: "1",
          HTTP_PROXY: proxy.url,
          HTTPS_PROXY: proxy.url,
        },
      },
    );
    // The vendor speaks no TLS: that the proxy was asked for a tunnel to it is enough.
    if (scheme === "http")
      expect(JSON.parse(stdout)).toMatchObject({ ok: true, value: { content: "through it" } });
    expect(asked).toEqual([`models.invalid:${scheme === "http" ? 80 : 443}`]);
  },
);
