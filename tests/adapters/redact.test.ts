import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createLog } from "../../adapters/telemetry/log.ts";
import { redact } from "../../machines/contracts/domain/redact.ts";
import { redactText } from "../../machines/contracts/domain/screening/secrets.ts";
import { isSecretKey } from "../../machines/contracts/domain/secret-names.ts";
import { createRedactor } from "../../machines/contracts/domain/screening/known-secrets.ts";
import { otlpUrl } from "../../adapters/telemetry/otlp-url.ts";
import { cpuMs } from "../support/cpu-time.ts";

test.each([
  "password",
  "DB_PASSWORD",
  "apiKey",
  "API_KEY",
  "x-api-key",
  "OPENAI_API_KEY",
  "openaiApiKey",
  "apikey",
  "accessToken",
  "GITHUB_TOKEN",
  "authorization",
  "Set-Cookie",
  "client_secret",
  "privateKey",
  "AWS_SECRET_ACCESS_KEY",
  "credentials",
])("the key %s names a secret", (key) => {
  expect(isSecretKey(key)).toBe(true);
});

test.each([
  "input_tokens",
  "outputTokens",
  "max_tokens",
  "author",
  "authored_by",
  "tokenizer",
  "secretary",
  "idempotency_key",
  "idempotencyKey",
  "key",
  "keyboard",
  "passenger",
  "runId",
])("the key %s does not", (key) => {
  expect(isSecretKey(key)).toBe(false);
});

/** Made of parts, so that nobody's scanner takes them for found ones. */
const shapes = [
  ["sk", "live", "4eC39HqLyjWDarjtT1zdp7dc"].join("_"),
  ["rk", "test", "4eC39HqLyjWDarjtT1zdp7dc"].join("_"),
  ["whsec", "4eC39HqLyjWDarjtT1zdp7dc"].join("_"),
  ["AIza", "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"].join(""),
  ["GOCSPX", "abcdEFGH1234-ijkl"].join("-"),
  ["glpat", "AbCdEfGhIjKlMnOpQrSt"].join("-"),
  ["npm", "abcdefghijklmnopqrstuvwxyz0123456789"].join("_"),
  ["hf", "abcdefghijklmnopqrstuvwxyzABCDEFGH"].join("_"),
  ["SG", "abcdefghijklmnopqrstuv", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"].join("."),
  ["xapp", "1-A0123-456-abcdef0123456789"].join("-"),
  ["gsk", "abcdefghijklmnopqrstuvwxyz"].join("_"),
];

const secrets = [
  "sk-ant-api03-AbCdEf123456-xyz_789",
  "sk-proj-abcdef1234567890",
  "AKIAIOSFODNN7EXAMPLE",
  "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk",
  "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
  "xoxb-123456789012-abcdefghijkl",
  "fd_dev_key_abc123",
  ...shapes,
  "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
];

describe("a text", () => {
  test.each(secrets)("loses %s wherever it stands", (secret) => {
    for (const text of [secret, `before ${secret} after`, `{"x":"${secret}"}`, `a=${secret};b`]) {
      expect(redactText(text)).not.toContain(secret.slice(6, -1));
      expect(redactText(text)).toContain("[redacted]");
    }
    expect(redactText(`before ${secret} after`)).toBe("before [redacted] after");
  });

  test.each([
    ["redis://:hunter2@db:6379/0", "redis://:[redacted]@db:6379/0"],
    ["https://me:p@ss@host/x", "https://me:[redacted]@host/x"],
    ["Authorization: Bearer abcdef123456", "Authorization: Bearer [redacted]"],
    ["authorization: Basic dXNlcjpwYXNz", "authorization: Basic [redacted]"],
    ["got bearer abc.def-ghi", "got bearer [redacted]"],
    ["GET /x?api_key=12345&page=2", "GET /x?api_key=[redacted]&page=2"],
    ["DB_PASSWORD=hunter2", "DB_PASSWORD=[redacted]"],
    ['api_key = "abc def"', 'api_key = "[redacted]"'],
    ["client_secret:abc123", "client_secret:[redacted]"],
    ["password: hunter2!", "password: [redacted]"],
    ['{"password":"x y","user":"me"}', '{"password":"[redacted]","user":"me"}'],
    [
      String.raw`{"body":"{\"password\":\"hunter2\",\"n\":1}"}`,
      String.raw`{"body":"{\"password\":\"[redacted]\",\"n\":1}"}`,
    ],
    ["Cookie: sid=abc; theme=dark", "Cookie: [redacted]"],
    ["AccountKey=abc123==;EndpointSuffix=x", "AccountKey=[redacted];EndpointSuffix=x"],
    ["-----BEGIN PRIVATE KEY-----\\nMIIE and then nothing", "[redacted] and then nothing"],
  ])("%j becomes %j", (text, expected) => {
    expect(redactText(text)).toBe(expected);
  });

  test.each([
    "see https://example.com:8080/a/b?page=2 at 12:30",
    "mailto user@example.com",
    "the bearer of news",
    "task-list sk-learn risk-averse",
    "run_01J9 step_02 input_tokens=512",
    "author: someone",
    "password: expected at least 8 characters",
    "token: 12, token=null",
    "the secret of success: patience",
    "input_tokens=512; secretary: Ms Smith",
  ])("%j stays as it is", (text) => {
    expect(redactText(text)).toBe(text);
  });

  test("is done with in no time, whatever it is made of", () => {
    for (const part of [
      "sk-",
      "eyJaaaaaaaa",
      "a.",
      "http://",
      "Bearer ",
      "-----BEGIN PRIVATE KEY-----",
      "password",
      "a=",
      "token=\\",
      'token="',
      "cookie:",
    ]) {
      const began = cpuMs();
      redact(part.repeat(200_000));
      expect(cpuMs() - began).toBeLessThan(1000);
    }
  });
});

describe("the secrets of this process", () => {
  /** What people and generators make: at least six characters, no end of space. */
  const secret = fc
    .oneof(
      fc.string({ minLength: 6, maxLength: 40, unit: "grapheme" }),
      fc.string({ minLength: 6, maxLength: 40 }),
      fc.base64String({ minLength: 8, maxLength: 40 }),
    )
    .map((text) => text.trim())
    // "redacted" itself can't be taken out of what it is replaced by.
    .filter((text) => text.length >= 6 && !"[redacted]".includes(text.toLowerCase()));
  const wrappings: readonly ((value: string) => string)[] = [
    (value) => value,
    (value) => `it said: ${value}, twice ${value}`,
    (value) => `https://host/?k=${encodeURIComponent(value.toWellFormed())}&x=1`,
    (value) => JSON.stringify({ a: [value] }),
    (value) => Buffer.from(value).toString("base64"),
    (value) => `Basic ${Buffer.from(`user:${value}`).toString("base64")}`,
    (value) => `Basic ${Buffer.from(`me:${value}:x`).toString("base64url")}`,
  ];

  test("are taken out literally, as they are and in every usual encoding [secrets.by-value]", () => {
    fc.assert(
      fc.property(fc.array(secret, { minLength: 1, maxLength: 4 }), fc.nat(), (held, at) => {
        const { hide } = createRedactor(held);
        const wrap = wrappings[at % wrappings.length] ?? String;
        for (const value of held) {
          const text = hide(wrap(value));
          expect(text).toContain("[redacted]");
          if (at % wrappings.length < 2) expect(text).not.toContain(value);
        }
      }),
    );
  });

  test("are in no line of a log, whatever they are under [secrets.by-value]", () => {
    const value = "correct horse battery";
    const lines: string[] = [];
    const { hide } = createRedactor([value]);
    const destination = { write: (line: string) => void lines.push(line) };
    const log = createLog({ level: "debug", name: "test", destination, hide });
    log.info({ a: { [value]: [value] } }, `said ${value}`);
    log.error({ err: new Error(`no ${value}`, { cause: value }) }, "failed");
    log.warn({ long: "x".repeat(9_995) + value }, "cut through the middle");
    expect(lines.join("")).not.toContain("correct");
    expect(lines.join("")).not.toContain("battery");
  });

  test("that are too short to tell from words are left alone, and nothing else is touched", () => {
    const { hide } = createRedactor(["true", "dev", "", null, undefined, "  "]);
    expect(hide("it is true in dev")).toBe("it is true in dev");
    expect(createRedactor().hide("anything")).toBe("anything");
  });
});

describe("named secrets in a text", () => {
  test("are hidden for every secret's name and every way of writing a value [secrets.by-name]", () => {
    const name = fc.constantFrom("password", "apiKey", "DB_PASSWORD", "client-secret", "x-api-key");
    const value = fc.stringMatching(/^[A-Z][A-Za-z0-9+/_-]{7,30}$/);
    const ways: readonly ((key: string, held: string) => string)[] = [
      (key, held) => `${key}=${held}`,
      (key, held) => `${key} = "${held}"`,
      (key, held) => `${key}: '${held}'`,
      (key, held) => `${key}: ${held}`,
      (key, held) => JSON.stringify({ [key]: held }),
      (key, held) => JSON.stringify({ body: JSON.stringify({ [key]: held, n: 1 }) }),
      (key, held) => `export ${key}=${held}; run`,
    ];
    fc.assert(
      fc.property(name, value, fc.nat(ways.length - 1), (key, held, way) => {
        const text = ways[way]?.(key, held) ?? "";
        expect(redactText(text)).not.toContain(held);
        expect(redactText(redactText(text))).toBe(redactText(text));
      }),
    );
  });
});

describe("a value", () => {
  test("loses what stands under a secret's name, however deep, and keeps the rest", () => {
    const value = {
      usage: { input_tokens: 12, outputTokens: 3, token: 7 },
      author: "someone",
      nested: [
        { headers: { authorization: "abc", accept: "x" }, credentials: { user: "u", id: 1 } },
      ],
      password: null,
      secret: true,
    };
    expect(redact(value)).toEqual({
      usage: { input_tokens: 12, outputTokens: 3, token: 7 },
      author: "someone",
      nested: [
        { headers: { authorization: "[redacted]", accept: "x" }, credentials: "[redacted]" },
      ],
      password: null,
      secret: true,
    });
    expect(value.nested[0]?.headers.authorization).toBe("abc");
  });

  test("may be an error, a map, a circle or anything else", () => {
    const error = new Error("call with sk-abcdef123456 failed", { cause: { apiKey: "x1y2" } });
    expect(redact(error)).toMatchObject({
      type: "Error",
      message: "call with [redacted] failed",
      cause: { apiKey: "[redacted]" },
    });
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    expect(redact(circle)).toEqual({ self: "[circular]" });
    fc.assert(fc.property(fc.anything(), (value) => void redact(value)));
  });

  test("without secrets comes back equal", () => {
    fc.assert(
      fc.property(
        fc.array(fc.dictionary(fc.constantFrom("a", "b", "count"), fc.integer())),
        (value) => {
          expect(redact(value)).toEqual(value);
        },
      ),
    );
  });
});

describe("a log", () => {
  const planted = "sk-planted-1234567890";
  function collect(pretty: boolean) {
    const lines: string[] = [];
    const destination = { write: (line: string) => void lines.push(line) };
    return { lines, log: createLog({ level: "debug", name: "test", destination, pretty }) };
  }

  test.each([false, true])("never prints a planted secret (pretty: %s)", (pretty) => {
    const { lines, log } = collect(pretty);
    const error = Object.assign(new Error(`no ${planted}`), {
      config: { apiKey: "plain-planted" },
    });
    log.info(
      { runId: "run_1", apiKey: "plain-planted", deep: { note: planted } },
      `said ${planted}`,
    );
    log.error({ err: error }, "failed");
    log.error(error, "thrown");
    log.warn({ cause: error, list: [planted] }, "nested");
    log.info({ url: "redis://user:plain-planted@localhost" }, "connecting");

    expect(lines).toHaveLength(5);
    expect(lines.join("")).not.toContain("planted-1234567890");
    expect(lines.join("")).not.toContain("plain-planted");
    expect(lines.join("")).toContain("[redacted]");
    expect(lines[0]).toContain("run_1");
    expect(lines[2]).toContain("no [redacted]");
  });

  test("keeps its level, its words and its fields", () => {
    const { lines, log } = collect(false);
    log.debug({ input_tokens: 5 }, "counted");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      level: "debug",
      name: "test",
      input_tokens: 5,
      msg: "counted",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/u),
    });
    const quiet = createLog({
      level: "warn",
      name: "x",
      destination: { write: (l) => void lines.push(l) },
    });
    quiet.info({}, "not this");
    expect(lines).toHaveLength(1);
  });

  test("has no stack of what somebody can mend, unless it is asked for [logs.no-stacks]", () => {
    const lines: string[] = [];
    const destination = { write: (line: string) => void lines.push(line) };
    const made = { level: "info", name: "test", destination } as const;
    const cause = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    const users = new Error("card refused");
    const inHandler = `${process.cwd()}/cards.ts:12:3`;
    users.stack = `Error: card refused\n    at charge (${inHandler})\n    at node:internal:1:1`;
    const ours = new Error("impossible");
    ours.stack = `Error: impossible\n    at move (${process.cwd()}/actors/runtime.ts:1:1)`;
    const tell = (log: ReturnType<typeof createLog>) => {
      log.warn({ err: ours }, "passing");
      log.error({ err: new TypeError("fetch failed", { cause }) }, "away");
      log.error({ err: users }, "a handler threw");
      log.error({ err: ours }, "a fault of ours");
      return lines.splice(0).map((line) => JSON.parse(line).err as object);
    };
    expect(tell(createLog(made))).toEqual([
      { type: "Error", message: "impossible" },
      {
        type: "TypeError",
        message: "fetch failed",
        cause: { type: "Error", message: "connect ECONNREFUSED", code: "ECONNREFUSED" },
        at: expect.stringMatching(/^tests\/adapters\/redact\.test\.ts:\d+$/u),
      },
      { type: "Error", message: "card refused", at: "cards.ts:12" },
      { type: "Error", message: "impossible", stack: expect.stringContaining("runtime.ts") },
    ]);
    for (const err of tell(createLog({ ...made, stacks: true })))
      expect(err).toMatchObject({ stack: expect.any(String) });
  });

  test("reads as a line for a person when asked to", () => {
    const { lines, log } = collect(true);
    log.warn({ runId: "run_1", why: "two words" }, "slow");
    // eslint-disable-next-line no-control-regex
    const plain = (lines[0] ?? "").replaceAll(/\u001B\[\d+m/gu, "");
    expect(plain).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}slow runId=run_1 why="two words"\n$/u);
  });
});

describe("the traces URL", () => {
  test.each([
    ["http://localhost:4318", "http://localhost:4318/v1/traces"],
    ["http://localhost:4318/", "http://localhost:4318/v1/traces"],
    ["https://otel.example.com/base/", "https://otel.example.com/base/v1/traces"],
    ["https://otel.example.com/v1/traces", "https://otel.example.com/v1/traces"],
  ])("of %s is %s", (endpoint, url) => {
    expect(otlpUrl(endpoint, "traces")).toEqual({ url, note: null });
  });

  test("goes to 4318 when the endpoint is for gRPC, and says so", () => {
    const { url, note } = otlpUrl("http://localhost:4317", "traces");
    expect(url).toBe("http://localhost:4318/v1/traces");
    expect(note).toContain("4317");
  });

  test.each(["localhost:4318", "grpc://x:4317", "", "not a url"])(
    "is refused for %j",
    (endpoint) => {
      expect(() => otlpUrl(endpoint, "traces")).toThrow("expected a URL such as");
    },
  );
});
