import type { RequestListener } from "node:http";
import { json } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import * as fc from "fast-check";
import { request as send } from "undici";
import { addressProblem, guardedAgent } from "../../adapters/retrieval/guarded-agent.ts";
import { createHttpRetriever } from "../../adapters/retrieval/http.ts";
import { useHttpServers } from "../support/http-servers.ts";

const never = new AbortController().signal;
const servers = useHttpServers();
const question = {
  query: "what is a lease?",
  collection: "docs",
  topK: 3,
  documents: [{ content: "of the step" }],
};

async function serve(listener: RequestListener): Promise<string> {
  return `${(await servers.serve(listener)).url}/search`;
}

describe("the HTTP retriever", () => {
  test("posts the query with our key, and hands back documents and total", async () => {
    const seen: { url?: string | undefined; authorization?: string | undefined; body?: unknown } =
      {};
    const endpoint = await serve((request, response) => {
      seen.url = request.url;
      seen.authorization = request.headers.authorization;
      void json(request).then((body) => {
        seen.body = body;
        response.end(
          JSON.stringify({ documents: [{ content: "a right", score: 0.9 }], total: 12 }),
        );
      });
    });
    const retriever = createHttpRetriever({ endpoint, apiKey: "k3y", timeoutMs: 5000 });
    expect(await retriever.retrieve(question, never)).toEqual({
      ok: true,
      value: { documents: [{ content: "a right", score: 0.9 }], totalFound: 12 },
    });
    expect(seen).toEqual({
      url: "/search",
      authorization: "Bearer k3y",
      body: { query: "what is a lease?", collection: "docs", top_k: 3 },
    });
  });

  test.each([
    [400, "invalid_input", false],
    [401, "unauthorized", true],
    [403, "unauthorized", true],
    [404, "not_found", false],
    [429, "rate_limited", true],
    [500, "unavailable", true],
    [503, "unavailable", true],
  ])(
    "takes status %d for the failure %s, never for no documents",
    async (status, kind, retryable) => {
      const endpoint = await serve((_, response) => {
        response.writeHead(status, { "retry-after": "100000" });
        response.end(`"the index is \ud800 closed to k3y ${"x".repeat(2_000_000)}"`);
      });
      const retriever = createHttpRetriever({ endpoint, apiKey: "k3y", timeoutMs: 5000 });
      const outcome = await retriever.retrieve(question, never);
      expect(outcome).toMatchObject({ ok: false, failure: { kind, retryable } });
      const message = outcome.ok ? "" : outcome.failure.message;
      expect(message).toContain(`${status}: "the index is \ufffd closed to [redacted] x`);
      expect(message.length).toBeLessThan(600);
      if (retryable) expect(outcome).toMatchObject({ failure: { retryAfterMs: 60_000 } });
    },
  );

  test.each([200, 204, 302, 400, 401, 403, 404, 409, 418])(
    "takes a page or nothing with status %d for something that answered in the service's place, and tries again [retrieval.in-its-place]",
    async (status) => {
      for (const body of ["<html>log in</html>", ""]) {
        const endpoint = await serve((_, response) => {
          response.writeHead(status, { "content-type": "text/html" });
          response.end(status === 204 ? "" : body);
        });
        const retriever = createHttpRetriever({ endpoint, timeoutMs: 5000 });
        expect(await retriever.retrieve(question, never)).toMatchObject({
          ok: false,
          failure: { kind: status === 401 ? "unauthorized" : "unavailable", retryable: true },
        });
      }
    },
  );

  test("follows no redirect", async () => {
    let reached = false;
    const inside = await serve((_, response) => {
      reached = true;
      response.end('{"documents":[{"content":"internal"}]}');
    });
    const endpoint = await serve((_, response) => {
      response.writeHead(307, { location: inside });
      response.end();
    });
    const outcome = await createHttpRetriever({ endpoint, timeoutMs: 5000 }).retrieve(
      question,
      never,
    );
    expect(outcome).toMatchObject({ failure: { kind: "unavailable", retryable: true } });
    expect(reached).toBe(false);
  });

  test.each(["not json", "[]", '{"documents":"none"}', '{"documents":[1]}', '{"total":3}'])(
    "takes the answer %s for out of contract",
    async (body) => {
      const endpoint = await serve((_, response) => response.end(body));
      const retriever = createHttpRetriever({ endpoint, timeoutMs: 5000 });
      expect(await retriever.retrieve(question, never)).toMatchObject({
        failure: { kind: "unavailable", retryable: true },
      });
    },
  );

  test.each([
    ['{"documents":[{"id":9007199254740993}]}', "documents[0].id that can't be kept exactly"],
    ['{"documents":[{"id":1e999}]}', "documents[0].id that can't be kept exactly"],
    [`{"documents":[${'{"a":'.repeat(200)}1${"}".repeat(200)}]}`, "nested deeper than 100"],
  ])(
    "changes no number and passes on nothing too deep: %.40s [retrieval.exact]",
    async (body, problem) => {
      const endpoint = await serve((_, response) => response.end(body));
      const outcome = await createHttpRetriever({ endpoint, timeoutMs: 5000 }).retrieve(
        question,
        never,
      );
      expect(outcome).toMatchObject({ failure: { kind: "invalid_output", retryable: false } });
      expect(outcome.ok ? "" : outcome.failure.message).toContain(problem);
    },
  );

  test("stops reading after 8 MiB", async () => {
    const endpoint = await serve((_, response) => {
      const flood = () => {
        while (response.writable && response.write("x".repeat(65_536)));
      };
      response.on("drain", flood);
      flood();
    });
    const retriever = createHttpRetriever({ endpoint, timeoutMs: 20_000 });
    expect(await retriever.retrieve(question, never)).toMatchObject({
      failure: { kind: "too_large", retryable: false },
    });
  });

  test("gives a silent or half-silent service its time and no more", async () => {
    const silent = await serve(() => {});
    const halting = await serve((_, response) => void response.write('{"documents":'));
    for (const endpoint of [silent, halting]) {
      const outcome = await createHttpRetriever({ endpoint, timeoutMs: 300 }).retrieve(
        question,
        never,
      );
      expect(outcome).toMatchObject({ failure: { kind: "unavailable", retryable: true } });
      expect(outcome.ok ? "" : outcome.failure.message).toContain("300 ms");
    }
  });

  test("takes a refused connection for a passing one, and an abort for ours", async () => {
    const { url: endpoint, server } = await servers.serve(() => {});
    const stop = new AbortController();
    const running = createHttpRetriever({ endpoint, timeoutMs: 9000 }).retrieve(
      question,
      stop.signal,
    );
    setTimeout(() => stop.abort(), 50);
    expect(await running).toMatchObject({ failure: { kind: "cancelled", retryable: false } });
    server.closeAllConnections();
    server.close();
    const gone = await createHttpRetriever({ endpoint, timeoutMs: 9000 }).retrieve(question, never);
    expect(gone).toMatchObject({ failure: { kind: "unavailable", retryable: true } });
  });

  test("asks no address where only metadata of a cloud lives, in whatever spelling [retrieval.addresses]", async () => {
    for (const host of [
      "169.254.169.254",
      "2852039166",
      "0xa9.0xfe.169.254",
      "[::ffff:a9fe:a9fe]",
      "0.0.0.0",
    ]) {
      const retriever = createHttpRetriever({ endpoint: `http://${host}/`, timeoutMs: 5000 });
      const outcome = await retriever.retrieve(question, never);
      expect(outcome).toMatchObject({ failure: { kind: "unavailable" } });
      expect(outcome.ok ? "" : outcome.failure.message).toContain("where no service may be asked");
    }
  });

  test("a public name that leads inside is not connected to, one of ours is [retrieval.addresses]", async () => {
    let asked = 0;
    const { url } = await servers.serve((_, response) => {
      asked += 1;
      response.end("{}");
    });
    const { port } = new URL(url);
    const ask = async (host: string, address: string, allowInternal: boolean) => {
      const agent = await guardedAgent({ allowInternal }, (_host, _options, done) =>
        done(null, [{ address, family: address.includes(":") ? 6 : 4 }]),
      );
      const answer = send(`http://${host}:${port}/`, { dispatcher: agent });
      const said = await answer.then(
        () => "answered",
        (error: Error) => error.message,
      );
      await agent.destroy();
      return said;
    };
    expect(await ask("search.example.com", "127.0.0.1", false)).toContain(
      "the internal address 127.0.0.1",
    );
    expect(await ask("search.example.com", "::ffff:127.0.0.1", false)).toContain(
      "internal address",
    );
    expect(await ask("search.internal", "169.254.169.254", true)).toContain(
      "no service may be asked",
    );
    expect(asked).toBe(0);
    expect(await ask("search.internal", "127.0.0.1", false)).toBe("answered");
    expect(await ask("search.example.com", "127.0.0.1", true)).toBe("answered");
    expect(asked).toBe(2);
  });

  test("an IPv4 address is judged alike inside one of IPv6 [retrieval.addresses]", () => {
    const rules = { allowInternal: false };
    const hex = (address: string) => {
      const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
      return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
    };
    const judged = (address: string) =>
      addressProblem("search.example.com", address, rules) === null;
    fc.assert(
      // A row of zeros at the address's beginning or end is written together with those around it.
      fc.property(
        fc.oneof(fc.ipV4(), fc.constantFrom("0.0.1.2", "0.0.0.0", "10.1.0.0")),
        (address) => {
          for (const inside of [
            `::ffff:${address}`,
            `::ffff:${hex(address)}`,
            `64:ff9b::${address}`,
            `64:ff9b::${hex(address)}`,
            `64:ff9b:1::${hex(address)}`,
            `2002:${hex(address)}::7`,
            `2002:${hex(address)}::`,
          ]) {
            expect(judged(inside), inside).toBe(judged(address));
          }
        },
      ),
    );
    expect(["8.8.8.8", "2001:4860:4860::8888"].map(judged)).toEqual([true, true]);
    expect(["10.1.2.3", "172.31.0.1", "fd12::1", "::1"].map(judged)).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });

  test.each(["file:///etc/passwd", "localhost:9000", ""])("can't be made for %j", (endpoint) => {
    expect(() => createHttpRetriever({ endpoint, timeoutMs: 1 })).toThrow("http or https URL");
  });
});
