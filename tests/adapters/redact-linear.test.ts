import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { redactText } from "../../machines/contracts/domain/screening/secrets.ts";
import { cpuMs } from "../support/cpu-time.ts";

describe("a foreign text", () => {
  const pieces = [
    "sk-",
    "eyJaaaaaaaa-",
    "eyJ",
    "-----BEGIN A",
    "-----BEGIN PRIVATE KEY-----",
    "a://b.",
    "a://b:",
    'a="',
    "a='",
    '"',
    "'",
    "\\",
    '\\"',
    "token: ",
    "token=",
    "password",
    ":",
    "=",
    " ",
    "	",
    ".",
    "xoxb-",
    "SG.",
    "SG.aaaaaaaaaaaa",
    "fd_a_",
    "fd_key_",
    "bearer ",
    "cookie:",
    "authorization: ",
    "?token",
    "&secret=",
    "AKIA",
    "ghp_",
    "glpat-",
    "aB",
    "a.b",
    "-",
    "_",
    "a",
    "1",
    "A ",
    "\n",
  ];
  const redactionMs = (text: string) => {
    const from = cpuMs();
    redactText(text);
    return cpuMs() - from;
  };

  test("takes time in proportion to its length, whatever it is made of [secrets.linear]", () => {
    const anyPieces = fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 4 });
    const repeated = fc.tuple(anyPieces, anyPieces);
    fc.assert(
      fc.property(repeated, ([first, second]) => {
        const of = (length: number) => {
          const [head, body] = [first.join(""), second.join("")];
          return head + body.repeat(Math.ceil(length / body.length));
        };
        // Of 32 times the length, in quadratic time 1,000 times the work: seconds.
        const short = redactionMs(of(8_000));
        expect(redactionMs(of(256_000))).toBeLessThan(1_000 + 100 * short);
      }),
      { numRuns: 100 },
    );
    for (const piece of pieces)
      expect(redactionMs(piece.repeat(256_000 / piece.length))).toBeLessThan(3_000);
  });

  test("still hides what the patterns look for at the end of a long one", () => {
    const token = ["eyJhbGciOiJI", "eyJzdWIiOiIx", "sig-nature"].join(".");
    for (const secret of ["sk-ant-1234567890abc", token]) {
      expect(redactText(`${"sk- eyJ ".repeat(1_000)} ${secret} end`)).not.toContain(secret);
    }
    expect(redactText("sk-hyphenated-words-only and eyJustalongidentifier")).toBe(
      "sk-hyphenated-words-only and eyJustalongidentifier",
    );
  });
});
