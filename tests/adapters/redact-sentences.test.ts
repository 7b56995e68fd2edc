import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { redactText } from "../../machines/contracts/domain/screening/secrets.ts";

describe("a sentence about a secret", () => {
  test.each([
    "OPENAI_API_KEY: Expected a key of the provider",
    "API_KEY: Set it in the environment",
    "password: must be 8 characters",
    "token: Unexpected end",
    "Authorization: expected a header",
    "Authorization: Expected something else, namely a header",
    "Cookie: none was sent (expected one)",
    "bearer tokens are refused",
  ])("stays as it is: %s [secrets.sentences]", (text) => {
    expect(redactText(text)).toBe(text);
  });

  test.each([
    [
      "(expected a valid key: Authorization: Bearer abcdefgh)",
      "(expected a valid key: Authorization: Bearer [redacted])",
    ],
    ["[authorization: Basic dXNlcjpwYXNz]", "[authorization: Basic [redacted]]"],
    ["(cookie: a=b; c=d)", "(cookie: [redacted])"],
    ["(see /?token=abc123)", "(see /?token=[redacted])"],
    ["(API_KEY: Abc123)", "(API_KEY: [redacted])"],
    ["password: Hunter user: me", "password: [redacted] user: me"],
    ["token: 'abc'", "token: '[redacted]'"],
    ["Bearer abcdefgh is wrong", "Bearer [redacted] is wrong"],
    ["Authorization: Digest abcdefgh is wrong", "Authorization: Digest [redacted] is wrong"],
  ])("keeps its brackets and loses the secret: %s [secrets.sentences]", (text, expected) => {
    expect(redactText(text)).toBe(expected);
    expect(redactText(expected)).toBe(expected);
  });

  test("loses every secret that is no mere word, whatever sentence goes on after it [secrets.sentences]", () => {
    const before = fc.constantFrom(
      "API_KEY: ",
      "password: ",
      "Authorization: ",
      "Authorization: Bearer ",
      "authorization: expected ",
      "bearer ",
    );
    // A digit or a second capital, as keys have them.
    const secret = fc.stringMatching(/^[A-Za-z]{3,12}[0-9A-Z][A-Za-z0-9]{3,12}$/u);
    const after = fc.constantFrom(
      "",
      " is wrong",
      ", which is wrong",
      ")",
      ") was given",
      "]} there",
    );
    fc.assert(
      fc.property(before, secret, after, (head, held, tail) => {
        expect(redactText(`(${head}${held}${tail}`)).toBe(`(${head}[redacted]${tail}`);
      }),
    );
  });
});
