import { describe, expect, it } from "vitest";
import { readEvents } from "../../../adapters/control-plane/watch-runs.ts";
import { toFailure } from "../../../adapters/control-plane/http.ts";

const now = Date.parse("2026-01-26T10:00:00Z");

const failure = (status: number, body: unknown = "", headers = {}) =>
  toFailure({ status, headers, body }, "GET /x", now);
const said = (message: string) => ({ error: { code: "CODE", message } });

describe("an error answer", () => {
  it.each([
    [400, "refused", false],
    [401, "unauthorized", false],
    [403, "unauthorized", false],
    [404, "not_found", false],
    [408, "unavailable", true],
    [409, "conflict", false],
    [413, "too_large", false],
    [422, "refused", false],
    [302, "refused", false],
    [429, "rate_limited", true],
    [500, "unavailable", true],
    [503, "unavailable", true],
  ])("of status %i is %s, retryable %s", (status, kind, retryable) => {
    expect(failure(status, said("why"))).toMatchObject({
      kind,
      retryable,
      message: `GET /x: ${status} CODE why`,
      details: { status, code: "CODE" },
    });
  });

  it("of status 400 over the body limit is too_large", () => {
    expect(failure(400, said("Invalid JSON: length limit exceeded")).kind).toBe("too_large");
  });

  it("carries the wait that was asked for", () => {
    expect(failure(429, "", { "retry-after": "5" }).retryAfterMs).toBe(5_000);
    expect(failure(503, "", { "retry-after": "never" })).not.toHaveProperty("retryAfterMs");
  });

  it("carries the wait that the body asks for where the header asks for none", () => {
    expect(failure(429, { error: { retry_after: 3 } }).retryAfterMs).toBe(3_000);
    expect(failure(429, { retry_after: 2 }, { "retry-after": "soon" }).retryAfterMs).toBe(2_000);
    expect(failure(429, { retry_after: 2 }, { "retry-after": "1" }).retryAfterMs).toBe(1_000);
    expect(failure(429, { retry_after: 1e9 }).retryAfterMs).toBe(60_000);
    expect(failure(429, { retry_after: -1 })).not.toHaveProperty("retryAfterMs");
    expect(failure(429, { retry_after: "2" })).not.toHaveProperty("retryAfterMs");
  });

  it("is read from plain text and from the flat form too, on one bounded line", () => {
    expect(failure(415, "no\n such  type").message).toBe("GET /x: 415 no such type");
    expect(failure(400, { code: "C", message: "m" }).message).toBe("GET /x: 400 C m");
    expect(failure(500, "x".repeat(10_000)).message.length).toBeLessThan(600);
  });
});

describe("an event stream", () => {
  it("is cut into the same events wherever its bytes are cut", async () => {
    const text =
      ": hello\n\nevent: run\r\ndata: é1\r\n\r\ndata: a\rdata: b\r\rid: 3\n\nevent: run\ndata:2\n\n";
    const bytes = new TextEncoder().encode(text);
    for (let size = 1; size <= bytes.length; size++) {
      const events = [];
      for await (const event of readEvents(chunks(bytes, size))) events.push(event);
      expect(events).toEqual([
        { event: "run", data: "é1" },
        { event: "message", data: "a\nb" },
        { event: "run", data: "2" },
      ]);
    }
  });

  it("is given up when a line never ends", async () => {
    const endless = chunks(new Uint8Array(2 * 1024 * 1024).fill(97), 64 * 1024);
    await expect(readEvents(endless).next()).rejects.toThrow(RangeError);
  });
});

async function* chunks(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
