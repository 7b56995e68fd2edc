import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Config,
  type ConfigRequest,
  loadConfig,
  maskConfig,
  maskSecret,
  maskUrl,
} from "../../cli/config/load-config.ts";
import { InvalidSettings } from "../../machines/contracts/domain/errors.ts";
import { runCli } from "../support/run-cli.ts";
import { numbers, objectSettings, settingsShape } from "../../cli/config/settings.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stateplane-config-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const load = (given: Partial<ConfigRequest> = {}): Promise<Config> =>
  loadConfig({ flags: {}, env: {}, folder, file: null, ...given });
const write = (name: string, content: string) => writeFileSync(join(folder, name), content);

describe("where settings come from", () => {
  it("takes flags before the environment, the environment before the file, the file before defaults", async () => {
    write("stateplane.config.yaml", "concurrency: 5\ndrainMs: 1000\nleaseMs: 9000\n");
    const { settings, sources } = await load({
      flags: { concurrency: "7" },
      env: { WORKER_CONCURRENCY: "6", WORKER_DRAIN_MS: "2000" },
    });
    expect(settings).toMatchObject({
      concurrency: 7,
      drainMs: 2_000,
      leaseMs: 9_000,
      retryDelayMs: 1_000,
    });
    expect(sources).toMatchObject({
      concurrency: "flag --concurrency",
      drainMs: "environment variable WORKER_DRAIN_MS",
      leaseMs: join(folder, "stateplane.config.yaml"),
      retryDelayMs: "default",
    });
  });

  it("reads FerrumDeck's names, those it documents and never reads included", async () => {
    const { settings } = await load({
      env: {
        REDIS_URL: "redis://localhost:6379",
        REDIS_QUEUE_PREFIX: "other:",
        FD_API_KEY: "fd_dev_key_abc123",
        WORKER_NAME: "w1",
        WORKER_MAX_RETRIES: "0",
        DEFAULT_MODEL: "gpt-4o",
        FERRUMDECK_LOG_LEVEL: "WARNING",
        MCP_DEFAULT_TIMEOUT_MS: "5",
        OTEL_EXPORTER_OTLP_ENDPOINT: "http://localhost:4317",
      },
    });
    expect(settings).toMatchObject({
      redisUrl: "redis://localhost:6379",
      queuePrefix: "other:",
      apiKey: "fd_dev_key_abc123",
      workerName: "w1",
      maxRetries: 0,
      defaultModel: "gpt-4o",
      logLevel: "warn",
      mcpTimeoutMs: 5,
      otlpEndpoint: "http://localhost:4317",
    });
  });

  it("knows the control plane by all the names it goes by, the proper one first", async () => {
    const names = ["CONTROL_PLANE_URL", "FD_CONTROL_PLANE_URL", "GATEWAY_URL"];
    const env = Object.fromEntries(names.map((name, at) => [name, `http://cp${at}`]));
    for (const [at, name] of names.entries()) {
      const { settings, sources } = await load({ env });
      expect(settings.controlPlaneUrl).toBe(`http://cp${at}`);
      expect(sources.controlPlaneUrl).toBe(`environment variable ${name}`);
      delete env[name];
    }
  });

  it("counts an empty variable as not set", async () => {
    const { settings } = await load({ env: { WORKER_CONCURRENCY: "", CONTROL_PLANE_URL: "" } });
    expect(settings).toMatchObject({ concurrency: 4, controlPlaneUrl: null });
  });

  it("names a file of a kind that it does not read", async () => {
    write("stateplane.config.toml", 'store = "sqlite"');
    await expect(load()).rejects.toThrow(/stateplane\.config\.toml\): expected one of \.ts,/u);
  });

  it("reads each kind of file, and functions from those that can have them", async () => {
    const kinds = {
      "stateplane.config.yaml": "store: sqlite",
      "stateplane.config.json": '{"store": "sqlite"}',
      "stateplane.config.yml": "store: sqlite",
      "stateplane.config.js": 'export default { store: "sqlite" }',
      "stateplane.config.mjs": 'export default { store: "sqlite" }',
      "stateplane.config.mts": 'export default { store: "sqlite" as const }',
      "stateplane.config.ts":
        'export default { store: "sqlite" as const, policy: () => ({ kind: "deny", reason: "no" }) }',
    };
    write("package.json", '{"type": "module"}');
    for (const [name, content] of Object.entries(kinds)) {
      write(name, content);
      const { settings, file } = await load();
      expect(settings.store).toBe("sqlite");
      expect(file).toBe(join(folder, name));
      if (name.endsWith(".ts")) expect(settings.policy).toBeTypeOf("function");
      rmSync(join(folder, name));
    }
  });

  it("takes paths as relative to where they were said", async () => {
    mkdirSync(join(folder, "elsewhere"));
    write("elsewhere/own.yaml", "mcpConfigPath: mcp.json\n");
    const env = { FD_ARTIFACTS_PATH: "out" };
    const { settings } = await load({ file: join("elsewhere", "own.yaml"), env });
    expect(settings.mcpConfigPath).toBe(join(folder, "elsewhere", "mcp.json"));
    expect(settings.artifactsPath).toBe(join(folder, "out"));
    expect(settings.dataDir).toBe(join(folder, ".stateplane"));
  });
});

describe("settings that can't be used", () => {
  const problem = async (given: Partial<ConfigRequest>) => {
    const error = await load(given).then(
      () => null,
      (caught: unknown) => caught,
    );
    return error instanceof Error ? `${error.name}: ${error.message}` : "no error";
  };

  it("are named with their key, their source and what was expected", async () => {
    expect(await problem({ flags: { concurrency: "0" } })).toBe(
      'InvalidSetting: concurrency (from flag --concurrency): expected a whole number of steps from 1 to 10000, not "0"',
    );
    expect(await problem({ env: { WORKER_LEASE_MS: "30s" } })).toContain(
      "leaseMs (from environment variable WORKER_LEASE_MS): expected a whole number",
    );
    write("stateplane.config.yaml", "agents: {helper: {allowedTools: [1]}}");
    expect(await problem({})).toBe(
      `InvalidSetting: agents.helper.allowedTools[0] (from ${join(folder, "stateplane.config.yaml")}): expected a string, not 1`,
    );
  });

  it("are all reported at once, with what was given unless it may be a secret [config.all]", async () => {
    write(
      "stateplane.config.json",
      JSON.stringify({
        concurency: 3,
        leaseMs: 12,
        apiKey: 7,
        providers: { own: { kind: "opnai" } },
        agents: { a: { modle: "x", budget: { max_tool_calls: "many" } } },
      }),
    );
    const env = {
      WORKER_CONCURRENCY: "many",
      LOG_LEVEL: "a-key-in-the-wrong-place",
      REDIS_URL: "foo",
      FD_API_KEY_FILE: "/nowhere",
      WORKER_DRAIN_MSS: "3",
      WORKER_PORT: "tcp://10.0.0.1:80",
    };
    const error = await load({ env }).catch((caught: unknown) => caught);
    const told =
      error instanceof InvalidSettings ? error.problems.map(({ message }) => message) : [];
    const file = join(folder, "stateplane.config.json");
    const begins = [
      `concurency (from ${file}): expected a known setting; did you mean concurrency?`,
      `agents.a.modle (from ${file}): expected a known setting; did you mean model?`,
      "FD_API_KEY (from file /nowhere, named by environment variable FD_API_KEY_FILE): expected a readable file (ENOENT)",
      `providers.own.kind (from ${file}): expected "anthropic", "openai", "openai-compatible" or "openai-responses", not "opnai"`,
      `agents.a.budget.max_tool_calls (from ${file}): expected a whole number from 0 to 9007199254740991, not "many"`,
      'concurrency (from environment variable WORKER_CONCURRENCY): expected a whole number of steps from 1 to 10000, not "many"',
      `leaseMs (from ${file}): expected a whole number of milliseconds from 1000 to 86400000, not 12`,
      "logLevel (from environment variable LOG_LEVEL): expected one of debug, info, warn, error, silent, not a text of 24 characters",
      "redisUrl (from environment variable REDIS_URL): expected redis://host:port/database, with a user and password before the host where needed, rediss:// for TLS, or unix:///path/to/socket",
      "WORKER_DRAIN_MSS (from the environment): expected a variable that is read; did you mean WORKER_DRAIN_MS?",
    ];
    expect(told.toSorted()).toEqual(begins.toSorted());
  });

  it("are paths with a NUL in them, each by its name [config.all]", async () => {
    const paths = ["dataDir", "mcpConfigPath", "artifactsPath", "modelScript", "modelRecording"];
    const values = Object.fromEntries(paths.map((key) => [key, "a\0b"]));
    const told = await problem({ given: { path: "config", values, code: [] } });
    for (const key of paths)
      expect(told).toContain(`${key} (from config): expected a path, in which no NUL may stand`);
  });

  it("do not stop a start over a variable that may be somebody else's, which is told [config.all]", async () => {
    const env = { WORKER_DRAIN_MSS: "3", STATEPLANE_SERVICE_HOST: "10.0.0.1", WORKER_ID: "7" };
    expect((await load({ env })).misspelt).toEqual([
      "WORKER_DRAIN_MSS (from the environment): expected a variable that is read; did you mean WORKER_DRAIN_MS?",
    ]);
    expect((await load({ env: { ...env, WORKER_DRAIN_MS: "3000" } })).misspelt).toEqual([]);
  });

  it.each([
    ["a.ts", "export const a: number = = 1;", "", "a.ts:2"],
    ["a.mjs", "export const a = = 1;", "", "a.mjs:2"],
    ["a.mjs", 'import "./b.mjs";\nexport default {};', "\n\nconst b = = 1;", "b.mjs:3"],
    ["a.ts", 'const f = () => {\n  throw new Error("my own");\n};\nf();', "", "a.ts:3"],
    ["a.mjs", 'import { nope } from "./b.mjs";', "export {};", "a.mjs:2"],
  ])(
    "are where the code can't be read or throws: %s %j [config.all]",
    async (name, code, other, place) => {
      write(name, `// The configuration.\n${code}`);
      if (other !== "") write("b.mjs", other);
      const { code: exit, stderr } = await runCli(["config", "--config", name], { cwd: folder });
      expect(exit).toBe(2);
      expect(stderr).toContain(`stateplane: configuration (from ${join(folder, name)}): expected`);
      expect(stderr).toMatch(new RegExp(`, at (?:\\S*/)?${place}\\)\\n$`, "u"));
    },
  );

  it.each([
    ['{"concurency": 3}', "concurency", "concurrency"],
    ['{"bulkheads": {"lmm": 3}}', "bulkheads.lmm", "llm"],
    ['{"deadlines": {"aprovalMs": 3}}', "deadlines.aprovalMs", "approvalMs"],
    ['{"allowlist": {"deneid": ["x"]}}', "allowlist.deneid", "denied"],
    ['{"handlers": {"sandbx": null}}', "handlers.sandbx", "sandbox"],
    ['{"agents": {"a": {"modle": "x"}}}', "agents.a.modle", "model"],
    [
      '{"agents": {"a": {"budget": {"max_tool_cals": 1}}}}',
      "agents.a.budget.max_tool_cals",
      "max_tool_calls",
    ],
  ])("are refused when misspelt, with what was meant: %s", async (content, path, meant) => {
    write("stateplane.config.json", content);
    expect(await problem({})).toContain(`${path} (from `);
    expect(await problem({})).toContain(`did you mean ${meant}?`);
  });

  it("are refused with the known ones when nothing is like them", async () => {
    write("stateplane.config.json", '{"zzz": 3}');
    expect(await problem({})).toContain("expected one of redisUrl, queuePrefix");
  });

  it("may be named as one likes where names are the user's: agents, and a model's own parameters", async () => {
    write("stateplane.config.json", '{"agents": {"modle": {"modelParams": {"top_q": {"x": 1}}}}}');
    expect(await problem({})).toBe("no error");
  });

  describe.each(Object.entries(numbers))("%s", (path, { least, most, what }) => {
    const at = (value: unknown) => {
      const keys = path.replace("*", "helper").split(".");
      const nested = keys.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value);
      write("stateplane.config.json", JSON.stringify(nested));
      return problem({});
    };

    it("takes both ends of its bounds, and nothing beyond them", async () => {
      expect(await at(least)).toBe("no error");
      expect(await at(most)).toBe("no error");
      const expected = `expected ${what} from ${least} to ${most}`;
      const beyond = [least - 1, most + 1, least + 0.5, "many", true, [], { a: 1 }];
      for (const value of beyond) expect(await at(value)).toContain(expected);
    });
  });

  // Said here a second time, so that nobody moves it unseen: a shorter one can't be renewed in time.
  it("have a lease of at least a second", async () => {
    expect(await problem({ env: { WORKER_LEASE_MS: "999" } })).toContain("from 1000 to 86400000");
    expect(await problem({ env: { WORKER_LEASE_MS: "1000" } })).toBe("no error");
  });

  it("have a share of traces from 0 to 1", async () => {
    for (const OTEL_TRACES_SAMPLER_ARG of ["0", "0.1", "1"]) {
      expect(await problem({ env: { OTEL_TRACES_SAMPLER_ARG } })).toBe("no error");
    }
    for (const OTEL_TRACES_SAMPLER_ARG of ["-0.1", "1.1", "many", "NaN"]) {
      const told = await problem({ env: { OTEL_TRACES_SAMPLER_ARG } });
      expect(told).toContain("expected a number from 0 to 1");
    }
  });

  it("have bounds wherever they are numbers", async () => {
    const { settings } = await load();
    const unbounded = Object.entries(settings).filter(
      ([key, value]) =>
        // A share has its own bounds: see the reports below.
        typeof value === "number" && key !== "tracesSamplerArg" && !Object.hasOwn(numbers, key),
    );
    expect(unbounded).toEqual([]);
    for (const shape of [settingsShape, ...Object.values(objectSettings).map((make) => make())]) {
      expect(shape.expression).not.toMatch(/number(?! )/);
    }
  });

  it("are never shown: they may be secrets", async () => {
    const secret = "s3cr3t-value";
    const bad = [
      { env: { REDIS_URL: `http://:${secret}@host` } },
      { env: { CONTROL_PLANE_URL: `ftp://${secret}` } },
      { env: { STATEPLANE_STORE: secret } },
      { env: { LOG_LEVEL: secret } },
      { env: { WORKER_CONCURRENCY: secret } },
    ];
    for (const given of bad) {
      const text = await problem(given);
      expect(text).toContain("InvalidSetting");
      expect(text).not.toContain(secret);
    }
    for (const [name, content] of [
      ["a.json", `{"apiKey": "${secret}`],
      ["a.yaml", `apiKey: "${secret}`],
    ] as const) {
      write(name, content);
      const text = await problem({ file: name });
      expect(text).toMatch(/expected valid (JSON|YAML)/);
      expect(text).not.toContain(secret);
    }
  });

  it("include a file that is not there, is no object, or is one of two", async () => {
    expect(await problem({ file: "none.yaml" })).toContain("expected a readable file (ENOENT)");
    write("stateplane.config.json", "[1]");
    expect(await problem({})).toContain("expected an object of settings");
    write("own.config.mjs", 'import "no-such-package-of-ours";\nexport default {};');
    const imported = await problem({ file: "own.config.mjs" });
    expect(imported).toContain("Cannot find package 'no-such-package-of-ours'");
    expect(imported).toContain("install the packages that it imports in its folder");
    write("stateplane.config.yaml", "{}");
    expect(await problem({})).toContain("expected one configuration file");
  });

  it.each([
    ["a getter that throws", "{ get store() { throw new Error('boo'); } }"],
    ["a getter below", "{ providers: { get own() { throw new Error('boo'); } } }"],
    ["a proxy", "new Proxy({}, { ownKeys() { throw new Error('boo'); } })"],
    [
      "a proxy of nothing",
      "(() => { const p = Proxy.revocable({}, {}); p.revoke(); return p.proxy; })()",
    ],
    ["a tool that is a proxy", "{ tools: [new Proxy({}, { get() { throw new Error('boo'); } })] }"],
    ["a list that is one", "{ tools: new Proxy([], { get() { throw new Error('boo'); } }) }"],
    [
      "what can't be read, thrown",
      "(() => { throw Object.defineProperty(new Error(), 'message', { get() { throw 1; } }); })()",
    ],
  ])("include one whose own code throws, and name the file: %s [config.odd]", async (_, value) => {
    write("stateplane.config.mjs", `export default ${value};`);
    const text = await problem({});
    expect(text).toContain("InvalidSetting");
    expect(text).toContain(join(folder, "stateplane.config.mjs"));
  });
});

describe("showing settings", () => {
  it("masks secrets to what their owner recognises, and less of short ones", () => {
    expect(maskSecret("fd_dev_key_abc123")).toBe("***c123");
    expect(maskSecret("short")).toBe("***");
  });

  it("masks passwords and queries in URLs", () => {
    expect(maskUrl("redis://user:pa%40ss@host:6379/2")).toBe("redis://user:***@host:6379/2");
    expect(maskUrl("redis://:pass@host")).toBe("redis://:***@host");
    expect(maskUrl("https://host/v1?api_key=abc")).toBe("https://host/v1?***");
    expect(maskUrl("not a url with secret")).toBe("***");
  });

  it("lets no secret of any setting through", async () => {
    const secret = "s3cr3t-value-that-is-long";
    const config = await load({
      env: {
        REDIS_URL: `redis://u:${secret}@h`,
        CONTROL_PLANE_URL: `http://u:${secret}@h/`,
        RETRIEVAL_ENDPOINT: `https://h/?k=${secret}`,
        FD_API_KEY: secret,
        ANTHROPIC_API_KEY: secret,
        OPENAI_API_KEY: secret,
      },
    });
    const shown = maskConfig(config);
    expect(shown.length).toBeGreaterThan(20);
    expect(JSON.stringify(shown)).not.toContain(secret);
  });
});
