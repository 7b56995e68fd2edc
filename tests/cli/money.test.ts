import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { apiKey, startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { runCli } from "../support/run-cli.ts";

let folder: string;
let plane: TestPlane | undefined;
let gateway: FerrumDeckGateway | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-test-"));
});
afterEach(async () => {
  await plane?.close();
  await gateway?.close();
  plane = gateway = undefined;
  await rm(folder, { recursive: true, force: true });
});

const run = (args: string[], env: Record<string, string> = {}) =>
  runCli(args, { cwd: folder, env: { COLUMNS: "60", ...env } });

describe("stateplane prices", () => {
  it("shows one model, its long inputs too [prices.shown]", async () => {
    const { code, stdout } = await run(["prices", "claude-sonnet-4-5"]);
    expect(code).toBe(0);
    expect(stdout).toContain("anthropic/claude-sonnet-4-5, dollars per million tokens");
    expect(stdout).toMatch(/^input +3 +6$/mu);
    expect(stdout).toMatch(/^cache write, 1 hour +6 +12$/mu);
  });

  it("fits sixty columns, all of it, and is JSON where that is asked for [prices.shown]", async () => {
    const [all, json] = await Promise.all([run(["prices"]), run(["prices", "--json"])]);
    const lines = all.stdout.split("\n");
    expect(lines.length).toBeGreaterThan(150);
    // A command stands alone on its line, and is never wrapped: its length is that of the path it was started by.
    const isCommand = (line: string) => line.startsWith("  ") && line.endsWith(" prices MODEL");
    expect(lines.filter(isCommand)).toHaveLength(1);
    expect(lines.filter((line) => line.length > 60 && !isCommand(line))).toEqual([]);
    const { models, unit } = JSON.parse(json.stdout);
    expect(unit).toBe("dollars per million tokens");
    expect(models.length).toBeGreaterThan(150);
    expect(models).toContainEqual(
      expect.objectContaining({
        provider: "openai",
        model: "gpt-4o",
        tiers: [expect.objectContaining({ input: 2.5, cache_read: 1.25, output: 10 })],
      }),
    );
  });

  it("takes the configuration's prices first, and names what is wrong with one", async () => {
    const file = join(folder, "stateplane.config.json");
    await writeFile(file, JSON.stringify({ prices: { "gpt-4o": { input: 1, output: 2 } } }));
    expect((await run(["prices", "gpt-4o"])).stdout).toContain("from configuration (prices)");
    await writeFile(file, JSON.stringify({ prices: { "gpt-4o": { input: -1, output: 2 } } }));
    const refused = await run(["prices"]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("prices");
    await writeFile(file, JSON.stringify({ prices: { "gpt-4o": { input: 1, outptu: 2 } } }));
    expect((await run(["prices"])).stderr).toContain("did you mean output?");
  });

  it("says what to do about a model that has none", async () => {
    const { code, stdout, stderr } = await run(["prices", "unheard-of"]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain('there is no price for a model named like "unheard-of"');
    const near = await run(["prices", "gpt-4oo"]);
    expect([near.code, near.stderr]).toEqual([2, expect.stringContaining("did you mean gpt-4o?")]);
  });
});

describe("what a run has cost", () => {
  it("is shown below a cent as it is, in the list and by itself [money.shown]", async () => {
    plane = await startTestPlane();
    const key = await plane.createRun();
    const body = {
      status: "completed",
      output: "hi",
      input_tokens: 120,
      output_tokens: 1,
    } as const;
    await plane.report(key, body);
    const env = { CONTROL_PLANE_URL: plane.url, FD_API_KEY: apiKey };
    const [list, get] = await Promise.all([
      run(["runs", "list"], env),
      run(["runs", "get", key.runId], env),
    ]);
    expect(list.stdout).toContain("$0.00012");
    expect(get.stdout).toContain("$0.00012");
    const json = await run(["runs", "get", key.runId, "--json"], env);
    expect(JSON.parse(json.stdout).run).toMatchObject({ cost_micros: 120, cost_cents: 1 });
  });

  it("is in whole cents where the control plane says no more", async () => {
    gateway = await startFerrumDeckGateway({
      altering: ({ method, path }, answer) =>
        method === "GET" && path === "/v1/runs/run_1"
          ? { ...answer, body: { ...(answer.body as object), status: "completed", cost_cents: 5 } }
          : null,
    });
    const { url, apiKey: theirs } = gateway;
    const { stdout } = await run(["runs", "get", "run_1"], {
      CONTROL_PLANE_URL: url,
      FD_API_KEY: theirs,
    });
    expect(stdout).toContain("$0.05");
  });
});
