import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, asyncProperty, constantFrom, stringMatching } from "fast-check";
import { describe, expect, test } from "vitest";
import { collectorHeaders } from "../../cli/config/collector-headers.ts";
import { loadConfig } from "../../cli/config/load-config.ts";
import { settingSources } from "../../cli/config/setting-sources.ts";
import { chooseTools } from "../../cli/compose/choose-tools.ts";
import { providersOf } from "../../cli/compose/compose-models.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();
const load = (env: Record<string, string>, flags: Record<string, string> = {}) =>
  loadConfig({ flags, env, folder, file: null });
const put = (name: string, content: string | Uint8Array) => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

/** Every variable of a setting that is masked when it is shown, with a value that it takes. */
const secretVariables = Object.entries(settingSources).flatMap(([key, { env = [], mask }]) =>
  mask === undefined
    ? []
    : env.map((name) => ({
        key: key as "apiKey",
        name,
        value: key === "redisUrl" ? "redis://:pw@host:6379" : "http://user:pw@host/x",
      })),
);

test.each(secretVariables)(
  "[secrets.files] $name may stand in the file that $name_FILE names",
  async ({ key, name, value }) => {
    const path = put(name, `${value}\n`);
    const { settings, sources } = await load({ [`${name}_FILE`]: name });
    expect(settings[key]).toBe(value);
    expect(sources[key]).toBe(`file ${path}, named by environment variable ${name}_FILE`);
    await expect(load({ [`${name}_FILE`]: path, [name]: value })).rejects.toThrow(
      `${name} (from environment variables ${name} and ${name}_FILE): expected one of the two`,
    );
    expect((await load({ [`${name}_FILE`]: "", [name]: value })).settings[key]).toBe(value);
    expect((await load({ [`${name}_FILE`]: path, [name]: "" })).settings[key]).toBe(value);
  },
);

test("[secrets.files] a file's content is the value, without the newline at its end", () =>
  assert(
    asyncProperty(
      stringMatching(/^[!-~]{1,80}$/u),
      constantFrom("", "\n", "\r\n"),
      async (value, end) => {
        put("key", value + end);
        expect((await load({ FD_API_KEY_FILE: "key" })).settings.apiKey).toBe(value);
      },
    ),
  ));

describe("[secrets.files] a file that can't be used is named, and what is in it is not", () => {
  test.each<[string, string | Uint8Array, string]>([
    ["empty", "\n", "a file that is not empty"],
    ["long", "x".repeat(65_537), "at most 65536 bytes"],
    ["two lines", "hidden\nhidden\n", "a file of one line"],
    ["bytes", Uint8Array.of(0xff, 0xfe), "a file of UTF-8 text"],
  ])("%s", async (name, content, expected) => {
    const path = put(name, content);
    const refused = await load({ FD_API_KEY_FILE: path }).catch(String);
    expect(refused).toContain(`file ${path}, named by environment variable FD_API_KEY_FILE`);
    expect(refused).toContain(expected);
    expect(refused).not.toContain("hidden");
  });

  test("absent, a folder, a FIFO that nobody writes to", async () => {
    mkdirSync(join(folder, "folder"));
    execFileSync("mkfifo", [join(folder, "fifo")]);
    for (const [name, expected] of [
      ["absent", "a readable file (ENOENT)"],
      ["folder", "a regular file"],
      ["fifo", "a regular file"],
    ] as const) {
      await expect(load({ REDIS_URL_FILE: name })).rejects.toThrow(expected);
    }
  });

  test("a value that the setting does not take", async () => {
    const path = put("address", "ftp://hidden");
    const refused = await load({ GATEWAY_URL_FILE: path }).catch(String);
    expect(refused).toContain(path);
    expect(refused).not.toContain("hidden");
  });
});

test("[secrets.files] only secrets are read from files, and a flag is before both", async () => {
  put("name", "from-a-file");
  const { settings } = await load({ WORKER_NAME_FILE: "name" });
  expect(settings.workerName).not.toBe("from-a-file");
  const env = { GATEWAY_URL_FILE: "absent" };
  const flagged = await load(env, { "control-plane": "http://here" });
  expect(flagged.settings.controlPlaneUrl).toBe("http://here");
});

test("[secrets.files] variables that a configuration names are read in the same way", async () => {
  const key = put("key", "groq-key\n");
  const { settings, sources } = await load({});
  const providers = { groq: { kind: "openai", apiKeyEnv: "GROQ_KEY" } } as const;
  const [groq] = providersOf({ ...settings, providers }, { GROQ_KEY_FILE: key });
  expect(groq).toMatchObject({ name: "groq", apiKey: "groq-key" });

  const headers = put("headers", "authorization=Bearer%20abc,x=y\n");
  const env = {
    OTEL_EXPORTER_OTLP_HEADERS_FILE: headers,
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: "x=z",
  };
  expect(collectorHeaders("TRACES", env)).toEqual({ authorization: "Bearer abc", x: "z" });
  expect(collectorHeaders("METRICS", env)).toEqual({ authorization: "Bearer abc", x: "y" });

  const mcpConfigPath = put(
    "mcp.json",
    JSON.stringify({
      mcpServers: {
        one: { command: "true", env: { TOKEN: "${SOME_TOKEN}", LOG: "${LOG_FILE:-none}" } },
      },
    }),
  );
  const config = { settings: { ...settings, mcpConfigPath }, sources };
  const { servers } = await chooseTools(config, { SOME_TOKEN_FILE: key, LOG_FILE: "/nowhere" });
  expect(servers[0]?.env).toEqual({ TOKEN: "groq-key", LOG: "/nowhere" });
  await expect(chooseTools(config, { SOME_TOKEN_FILE: "/nowhere" })).rejects.toThrow("/nowhere");
  // What this worker itself is given is for no server.
  put(
    "mcp.json",
    JSON.stringify({ mcpServers: { one: { command: "a", args: ["${FD_API_KEY}"] } } }),
  );
  await expect(chooseTools(config, { FD_API_KEY_FILE: key })).rejects.toThrow("may not hand on");
  const bare = { settings: { ...settings, mcpConfigPath: null }, sources };
  const { servers: github } = await chooseTools(bare, { GITHUB_TOKEN_FILE: key });
  expect(github[0]?.env).toEqual({ GITHUB_PERSONAL_ACCESS_TOKEN: "groq-key" });
});
