import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { chooseWebhooks } from "../../cli/compose/webhooks.ts";
import { loadConfig } from "../../cli/config/load-config.ts";
import { createControlPlaneApi } from "../../cli/entries/control-plane.ts";
import { defineTool, startDev, type UsersConfig } from "../../cli/library.ts";
import { secrets } from "../../cli/secrets.ts";
import { listen } from "../support/listen.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { value } from "../support/value.ts";

const folder = useTemporaryFolder();
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const url = "https://hooks.example.com/services/T000/B000/abcdefghijklmnop";

const choose = async (webhooks: object, env: Record<string, string> = {}) => {
  const given = { path: join(folder, "stateplane.config.ts"), values: { webhooks } };
  const config = await loadConfig({ flags: {}, env, folder, file: null, given });
  return chooseWebhooks({ ...config, file: given.path }, env);
};

it("takes addresses and secrets of webhooks from environment and file, and says what is missing [notice.configured]", async () => {
  writeFileSync(join(folder, "secret.txt"), `${secret}\n`);
  const chosen = await choose(
    {
      slack: { urlEnv: "SLACK_URL" },
      pager: { url: "http://127.0.0.1:1/", secretFile: "secret.txt", answersAs: "key_1" },
    },
    { SLACK_URL: url },
  );
  expect(chosen.webhooks).toEqual([
    { name: "slack", url, secret: null, keyId: null },
    { name: "pager", url: "http://127.0.0.1:1/", secret, keyId: "key_1" },
  ]);
  expect(secrets.redact(`POST ${url} with ${secret}`)).not.toMatch(/T000|whsec/u);
  for (const [webhook, expected] of [
    [{ urlEnv: "NO_URL" }, "webhooks.bad.urlEnv (from"],
    [
      { url, secretEnv: "SHORT" },
      "a secret of at least 22 characters in the environment variable SHORT",
    ],
    [{ url, secretFile: "none.txt" }, "in the file none.txt"],
    [{ url, urlEnv: "SLACK_URL" }, "either url or urlEnv"],
    [{ url, secretEnv: "A", secretFile: "b" }, "one of secretEnv and secretFile"],
    [{ url: "ftp://example.com" }, "http"],
    [{ url, retries: 3 }, "retries"],
  ] as const) {
    await expect(choose({ bad: webhook }, { SHORT: "short" })).rejects.toThrow(expected);
  }
});

it("a step whose question is handed over waits on, and runs once the next role says yes [approval.handed-over]", async () => {
  const told: string[] = [];
  const server = createServer((request, response) => {
    let raw = "";
    request.on("data", (chunk: Buffer) => (raw += chunk.toString()));
    request.on("end", () => {
      told.push((JSON.parse(raw) as { type: string }).type);
      response.end();
    });
  });
  const port = await listen(server);
  onTestFinished(async () => {
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  });
  let runs = 0;
  const deploy = defineTool({
    name: "deploy",
    description: "Deploys.",
    input: { type: "object" },
    run: () => `deployed ${(runs += 1)}`,
  });
  const config: UsersConfig = {
    tools: [deploy],
    allowlist: { allowed: ["deploy"] },
    store: "sqlite",
    dataDir: join(folder, "data"),
    logLevel: "silent",
    webhooks: { ops: { url: `http://127.0.0.1:${port}/` } },
  };
  await using dev = await startDev(config, { env: {} });
  const api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 10_000 });
  const signal = AbortSignal.timeout(100_000);
  const body = {
    name: "careful",
    effect: "require_approval",
    conditions: { tools: ["deploy"] },
    approval: {
      role: "dev",
      expires_in_ms: 2_000,
      hand_to: ["a", "b", "c", "d", "e", "f", "g", "h"],
    },
  };
  value(await api.call({ method: "POST", path: "/v1/policies", body }, signal));
  const step = { type: "tool", input: { tool_name: "deploy", tool_input: {} } } as const;
  const made = await api.createRun({ agentId: "assistant", input: {}, steps: [step] }, signal);
  const { id: runId } = value(made);
  const open = async () => value(await api.approvals(10, signal))[0];
  await expect
    .poll(async () => (await open())?.role ?? "", { timeout: 40_000 })
    .toMatch(/^[a-h]$/u);
  expect(runs).toBe(0);
  value(await api.resolveApproval((await open())?.id ?? "", true, null, signal));
  await expect
    .poll(async () => value(await api.run(runId, signal)).status, { timeout: 40_000 })
    .toBe("completed");
  expect(runs).toBe(1);
  expect(told[0]).toBe("approval.requested");
  await expect.poll(() => told, { timeout: 20_000 }).toContain("approval.handed_over");
  await api.close();
});
