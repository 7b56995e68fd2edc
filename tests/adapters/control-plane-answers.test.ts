import { describe, expect, it } from "vitest";
import { toFailure } from "../../adapters/control-plane/answer.ts";

const now = Date.parse("2026-01-26T10:00:00Z");

const failure = (status: number, body: unknown = "", headers = {}) =>
  toFailure({ call: "GET /x", status, headers, body }, now);
const said = (message: string) => ({ error: { code: "CODE", message } });

describe("an error answer", () => {
  it.each([
    [400, "refused", false],
    [401, "unauthorized", false],
    [403, "forbidden", false],
    [404, "not_found", false],
    [408, "unavailable", true],
    [409, "conflict", false],
    [413, "too_large", false],
    [422, "refused", false],
    [429, "rate_limited", true],
    [500, "unavailable", true],
    [503, "unavailable", true],
  ])("of status %i is %s, retryable %s", (status, kind, retryable) => {
    expect(failure(status, said("why"))).toMatchObject({
      kind,
      retryable,
      message: `GET /x: ${status} CODE why`,
      details: { status, code: "CODE", said: "why" },
    });
  });

  it.each([204, 302, 307, 400, 403, 404, 405, 409, 413, 415, 421, 422, 451])(
    "of status %i without the control plane's own code is passing trouble, with what answered",
    (status) => {
      const html = { "content-type": "text/html" };
      for (const body of ["<html>\n Gateway</html>", { error: "no" }, { message: "no" }, [], ""]) {
        const { kind, retryable, message } = failure(status, body, html);
        expect([kind, retryable]).toEqual(["unavailable", true]);
        expect(message).toContain(`answered ${status} text/html`);
      }
      expect(failure(status, "<html>\n Gateway</html>", html).message).toContain("<html> Gateway");
    },
  );

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

  it("is one bounded line, cut between characters", () => {
    for (const pad of ["", "x"]) {
      const { message } = failure(500, said(`${pad}${"😀\n".repeat(10_000)}`));
      expect(message.length).toBeLessThan(600);
      expect(message).not.toContain("\n");
      expect(message.isWellFormed()).toBe(true);
    }
  });
});
