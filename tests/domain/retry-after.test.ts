import { describe, expect, it } from "vitest";
import { readRetryAfter } from "../../machines/contracts/wire/retry-after.ts";

const now = Date.parse("2026-01-26T10:00:00Z");

describe("Retry-After", () => {
  it.each([
    ["0", 0],
    ["7", 7_000],
    [" 7 ", 7_000],
    ["86400", 60_000],
    ["Mon, 26 Jan 2026 10:00:05 GMT", 5_000],
    ["Mon, 26 Jan 2026 09:00:00 GMT", 0],
    ["Mon, 26 Jan 2099 10:00:05 GMT", 60_000],
  ])("is read from %j as %j ms, a minute at most", (header, ms) => {
    expect(readRetryAfter(header, now)).toBe(ms);
  });

  it.each([
    undefined,
    null,
    "",
    "soon",
    "NaN",
    "-1",
    "1.5",
    "1e9",
    "2026-01-26",
    "99999999999999",
    "Mon, 99 Jan 2026 10:00:05 GMT",
  ])("counts as none when missing or garbled: %j", (header) => {
    expect(readRetryAfter(header, now)).toBeUndefined();
  });

  it("counts as none when sent twice", () => {
    expect(readRetryAfter(["1", "2"], now)).toBeUndefined();
  });
});
