import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RuntimePorts } from "../../actors/ports.ts";
import { chooseTools } from "../../cli/compose/choose-tools.ts";
import { loadConfig } from "../../cli/config/load-config.ts";
import { hideSecrets, learnSecrets, secrets } from "../../cli/secrets.ts";
import { fail, terminal } from "../../machines/contracts/domain/failure.ts";

const held = {
  model: "canary-model-key-1",
  plane: "canary-plane-key-1",
  redis: "canary-redis-pass",
  query: "canary-query-value",
  variable: "Canary9ExpandedVariable",
  header: "Canary7HeaderToken",
  collector: "canary-collector-1",
  traces: "canary-traces-1",
  metrics: "canary metrics/1",
  environment: "canary-aws-secret-1",
  // As plain as can be; their names say what they are.
  word: "correcthorsebatterystaple",
  number: "4929123456781234",
  path: "/bPxRfiCYcanaryKEY",
  pair: "token/abcdef0123456789",
  short: "Ab3$xyz",
};

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "stateplane-secrets-"));
  const servers = {
    web: { url: "https://h/mcp", headers: { authorization: `Bearer ${held.header}` } },
    short: { command: "true", env: { ADMIN_PASSWORD: held.short } },
    // eslint-disable-next-line no-template-curly-in-string
    local: { command: "true", env: { WHATEVER: "${MINE}", MODE: "production", WHERE: "${HOME}" } },
  };
  writeFileSync(join(folder, "mcp.json"), JSON.stringify({ mcpServers: servers }));
  const env = {
    OPENAI_API_KEY: held.model,
    FD_API_KEY: held.plane,
    REDIS_URL: `redis://user:${held.redis}@h`,
    RETRIEVAL_ENDPOINT: `https://h/?k=${held.query}`,
    MCP_CONFIG_PATH: join(folder, "mcp.json"),
    MINE: held.variable,
    HOME: "/home/somebody",
    OTEL_EXPORTER_OTLP_HEADERS: `x-key=${held.collector},x=y`,
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: `authorization=Bearer%20${held.traces}`,
    OTEL_EXPORTER_OTLP_METRICS_HEADERS: `a=b, x-key = ${encodeURIComponent(held.metrics)}`,
    AWS_SECRET_ACCESS_KEY: held.environment,
    DB_PASSWORD: held.word,
    CARD_PASSWORD: held.number,
    OTHER_SECRET_ACCESS_KEY: held.path,
    REGISTRY_TOKEN: held.pair,
    SSH_AUTH_SOCK: "/run/agent.sock",
    PWD: "/home/somebody/work",
  };
  const config = await loadConfig({ flags: {}, env, folder, file: null });
  learnSecrets(config.settings, env);
  await chooseTools(config, env);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the secrets of a configured process", () => {
  it.each(Object.entries(held))("include the %s's [secrets.by-value]", (_, value) => {
    expect(secrets.hide(`it said ${value}.`)).toBe("it said [redacted].");
  });

  it("do not include what is in many texts", () => {
    for (const text of [
      "production",
      "/home/somebody",
      "/run/agent.sock",
      "true",
      "https://h/mcp",
    ]) {
      expect(secrets.hide(text)).toBe(text);
    }
  });

  it("are in no failure of a neighbour, and so in no report and no record [secrets.by-value]", async () => {
    const echo = Object.values(held).join(" ");
    const failing = async () => fail(terminal("model_failed", `400: ${echo}`, { said: [echo] }));
    const ports = hideSecrets({
      models: { complete: failing },
      tools: { list: failing, describe: failing, call: failing, close: async () => {} },
      sandbox: { driver: "x", run: failing },
      retrievers: { local: { retrieve: failing }, http: { retrieve: failing } },
      artifacts: { isShared: true, check: failing },
      controlPlane: { run: failing },
    } as unknown as RuntimePorts);
    const never = new AbortController().signal;
    const any = {} as never;
    const sandbox = ports.sandbox as Exclude<typeof ports.sandbox, { missing: string }>;
    const outcomes = await Promise.all([
      ports.models.complete(any, never),
      ports.tools.list(never),
      ports.tools.describe("x", never),
      ports.tools.call(any, {}, never),
      sandbox.run(any, never),
      ports.retrievers.http?.retrieve(any, never),
      ports.artifacts.check(),
      ports.controlPlane.run("x", never),
    ]);
    expect(ports.artifacts.isShared).toBe(true);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ ok: false });
      expect(JSON.stringify(outcome)).toContain("[redacted]");
      expect(JSON.stringify(outcome).toLowerCase()).not.toContain("canary");
    }
  });
});
