import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { composeModels, pricesOf, providersOf } from "../../cli/compose/compose-models.ts";
import { loadConfig } from "../../cli/config/load-config.ts";
import { learnSecrets, secrets } from "../../cli/secrets.ts";
import { answerJson } from "../support/answer-json.ts";
import { chatCompletion } from "../support/chat-completion.ts";
import { useHttpServers } from "../support/http-servers.ts";
import { plain } from "../support/model-requests.ts";
import { runCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { useVendors } from "../support/vendor-server.ts";

const never = new AbortController().signal;
const folder = useTemporaryFolder();
const { vendor } = useVendors();
const { serve } = useHttpServers();
const silent = { debug() {}, info() {}, warn() {}, error() {} };

async function load(content: object, env: Record<string, string> = {}) {
  const file = join(folder, "models.json");
  writeFileSync(file, JSON.stringify(content));
  return loadConfig({ flags: {}, env, folder, file });
}

describe("providers by configuration", () => {
  it("are asked under their names with the key that the named variable holds, and priced as it says [llm.names]", async () => {
    const { url, seen } = await vendor(answerJson(chatCompletion({ content: "hi" }, "stop")));
    const env = { LAB_TOKEN: "lab-token-123456", ANTHROPIC_API_KEY: "sk-ant-test" };
    const config = await load(
      {
        providers: {
          lab: {
            kind: "openai-compatible",
            baseURL: `${url}/lab/v1`,
            apiKeyEnv: "LAB_TOKEN",
            prices: { "tiny-1": { input: 1, output: 10 } },
          },
          anthropic: { kind: "anthropic", baseURL: "http://127.0.0.1:1" },
        },
        fallbacks: { "claude-opus-4-5": ["lab/tiny-1"] },
      },
      env,
    );
    const prices = pricesOf(config.settings);
    const models = await composeModels(config, env, prices, silent);
    const outcome = await models.complete(plain("claude-opus-4-5"), never);
    expect(outcome).toMatchObject({
      value: {
        provider: "lab",
        // 1000 in at a dollar, 50 out at ten dollars a million.
        usage: { costMicros: 1_500 },
        attempts: [{ provider: "anthropic", reason: "network" }],
      },
    });
    expect(seen[0]).toMatchObject({
      path: "/lab/v1/chat/completions",
      headers: { authorization: "Bearer lab-token-123456" },
      body: { model: "tiny-1" },
    });
    learnSecrets(config.settings, env);
    expect(secrets.hide("it said lab-token-123456")).not.toContain("lab-token");
    const names = providersOf(config.settings, env).map(({ name, baseUrl }) => [name, baseUrl]);
    // What is configured takes the place of what a key alone would make.
    expect(names).toEqual([
      ["lab", `${url}/lab/v1`],
      ["anthropic", "http://127.0.0.1:1"],
    ]);
  });

  it("that lack their key fail by its name before anything is sent", async () => {
    const config = await load({
      providers: {
        groq: {
          kind: "openai-compatible",
          baseURL: "http://127.0.0.1:1",
          apiKeyEnv: "GROQ_API_KEY",
        },
      },
    });
    const models = await composeModels(config, {}, pricesOf(config.settings), silent);
    expect(await models.complete(plain("groq/llama3"), never)).toMatchObject({
      failure: { kind: "unauthorized", message: expect.stringContaining("GROQ_API_KEY") },
    });
  });

  it.each([
    [{ providers: { lab: { kind: "openai-compatible" } } }, /providers\.lab.*baseURL/],
    [{ providers: { lab: { kind: "openapi" } } }, /providers\.lab\.kind.*anthropic/],
    [
      { providers: { lab: { kind: "openai", baseUrl: "http://x" } } },
      /providers\.lab\.baseUrl.*removed/,
    ],
    [
      { providers: { lab: { kind: "openai", baseURL: "ftp://x" } } },
      /providers\.lab\.baseURL.*http/,
    ],
    [{ providers: { "a/b": { kind: "openai" } } }, /providers.*name/],
    [{ providers: { scripted: { kind: "openai" } } }, /providers.*name/],
    [{ fallbacks: { "gpt-4o": [{ model: "x", on: ["bad_luck"] }] } }, /fallbacks/],
    [{ fallbacks: { "gpt-4o": "x" } }, /fallbacks/],
  ])("that can't be used are refused by their key: %j", async (content, message) => {
    await expect(load(content)).rejects.toThrow(message);
  });

  it.each([
    [{ ANTHROPIC_API_KEY: "k" }, "claude-sonnet-4-20250514"],
    [{ OPENAI_API_KEY: "k" }, "gpt-4.1"],
    [{ OPENAI_API_KEY: "k", ANTHROPIC_API_KEY: "k" }, "claude-sonnet-4-20250514"],
    [{ STATEPLANE_MODEL_SCRIPT: "script.json" }, "scripted/default"],
    [{ OPENAI_API_KEY: "k", DEFAULT_MODEL: "o3" }, "o3"],
    [{}, "claude-sonnet-4-20250514"],
  ])("with %j the default model is %s", async (env, model) => {
    const { settings } = await load({}, env as Record<string, string>);
    expect(settings.defaultModel).toBe(model);
  });

  it(
    "are listed by doctor, with what they lack, a key that is refused too [llm.doctor-keys]",
    { timeout: 240_000 },
    async () => {
      const asked: string[] = [];
      const { url } = await serve((request, response) => {
        asked.push(`${request.method} ${request.url}`);
        const isGood = request.headers.authorization === "Bearer lab-good";
        response.writeHead(isGood ? 404 : 401).end("{}");
      });
      const providers = {
        lab: { kind: "openai-compatible", baseURL: `${url}/lab/v1/`, apiKeyEnv: "LAB_TOKEN" },
        ollama: { kind: "openai-compatible", baseURL: "http://localhost:11434/v1" },
        groq: {
          kind: "openai-compatible",
          baseURL: "https://api.groq.com/openai/v1",
          apiKeyEnv: "GROQ_API_KEY",
        },
      };
      writeFileSync(join(folder, "doctor.json"), JSON.stringify({ providers }));
      const { stdout } = await runCli(["doctor", "--json", "--config", "doctor.json"], {
        cwd: folder,
        env: {
          OPENAI_API_KEY: "sk-test",
          OPENAI_BASE_URL: "http://127.0.0.1:1/v1",
          LAB_TOKEN: "lab-good",
          ANTHROPIC_API_KEY: "sk-ant-wrong",
          ANTHROPIC_BASE_URL: url,
        },
      });
      const { findings } = JSON.parse(stdout) as { findings: { what: string }[] };
      expect(findings.filter(({ what }) => what.startsWith("models"))).toMatchObject([
        { what: "models of lab", state: "ok" },
        { what: "models of ollama", state: "ok" },
        { what: "models of groq", state: "broken", fix: "set GROQ_API_KEY" },
        {
          what: "models of anthropic",
          state: "broken",
          detail: expect.stringContaining("refuses this key"),
          fix: "set a key that it accepts",
        },
        // Whom nobody can reach now has refused nothing.
        {
          what: "models of openai",
          state: "ok",
          detail: expect.stringContaining("OPENAI_API_KEY"),
        },
        { what: "models", detail: expect.stringContaining("default ") },
      ]);
      expect(asked.toSorted()).toEqual(["GET /lab/v1/models", "GET /v1/models"]);
    },
  );
});
