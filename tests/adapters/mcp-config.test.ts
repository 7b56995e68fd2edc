import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readConfig } from "../../adapters/mcp/config.ts";

const folder = mkdtempSync(join(tmpdir(), "stateplane-mcp-config-"));
const file = join(folder, "mcp.json");
afterAll(() => rmSync(folder, { recursive: true }));

function read(content: unknown, env: Record<string, string> = {}) {
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return readConfig(file, env);
}

describe("the MCP configuration file", () => {
  test("is read in FerrumDeck's shape, allowlist and all", async () => {
    const read1 = await read({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      description: "two servers",
      servers: [
        { name: "github", command: "npx", args: ["-y", "server-github"], url: null },
        { name: "web", url: "https://mcp.example/mcp" },
      ],
      allowlist: { allowed_tools: ["a"], approval_required: ["b"], denied_tools: ["c"] },
    });
    expect(read1).toEqual({
      ok: true,
      value: {
        servers: [
          { name: "github", command: "npx", args: ["-y", "server-github"], env: {} },
          { name: "web", url: "https://mcp.example/mcp", headers: {} },
        ],
        warnings: [],
        allowlist: { allowedTools: ["a"], approvalRequired: ["b"], deniedTools: ["c"] },
      },
    });
  });

  test("is read in the common shape, by name", async () => {
    const common = await read({
      mcpServers: { files: { command: "node", args: ["server.js"], cwd: "/srv" } },
    });
    expect(common).toEqual({
      ok: true,
      value: {
        servers: [{ name: "files", command: "node", args: ["server.js"], env: {}, cwd: "/srv" }],
        warnings: [],
        allowlist: null,
      },
    });
  });

  test("leaves out what is disabled, and says what it does not act on", async () => {
    const config = {
      mcpServers: {
        off: { command: "run", disabled: true },
        github: { command: "npx", alwaysAllow: ["x"], timeout: 3 },
      },
    };
    const result = await read(config, { GITHUB_PERSONAL_ACCESS_TOKEN: "t" });
    expect(result).toMatchObject({ ok: true, value: { servers: [{ name: "github" }] } });
    const { warnings } = (result as { value: { warnings: string[] } }).value;
    expect(warnings).toEqual([
      expect.stringContaining("alwaysAllow, timeout"),
      expect.stringContaining("GITHUB_PERSONAL_ACCESS_TOKEN"),
    ]);
  });

  test("refuses a misspelt list: it would silently be none", async () => {
    const config = { mcpServers: {}, allowlist: { denied: ["rm"] } };
    expect(await read(config)).toMatchObject({ ok: false });
  });

  test("takes the text after `:-` where a variable is not set, or is empty", async () => {
    const config = {
      mcpServers: { one: { command: "run", args: ["${A:-x}", "${B:-y}", "${C:-}"] } },
    };
    expect(await read(config, { B: "b" })).toMatchObject({
      value: { servers: [{ args: ["x", "b", ""] }] },
    });
  });

  test("takes variables in args, env, url and headers from the environment it is given", async () => {
    const config = {
      mcpServers: {
        one: {
          command: "run",
          args: ["--key=${KEY}", "$KEY", "${KEY}${EMPTY}"],
          env: { K: "${KEY}" },
        },
        two: { url: "http://${HOST}/mcp", headers: { Authorization: "Bearer ${KEY}" } },
      },
    };
    const expanded = await read(config, { KEY: "k${KEY}", HOST: "localhost:1", EMPTY: "" });
    expect(expanded).toMatchObject({
      value: {
        servers: [
          { args: ["--key=k${KEY}", "$KEY", "k${KEY}"], env: { K: "k${KEY}" } },
          { url: "http://localhost:1/mcp", headers: { Authorization: "Bearer k${KEY}" } },
        ],
      },
    });
  });

  test.each([
    ["{ not json", "must be JSON"],
    [[], "must have either servers"],
    [{}, "must have either servers"],
    [{ servers: [], mcpServers: {} }, "and not both"],
    [{ servers: { github: {} } }, "servers must be an array"],
    [{ servers: [{ command: "x" }] }, "servers[0].name must be"],
    [{ servers: [{ name: "x", command: "x", args: "y" }] }, "servers[0].args must be"],
    [
      { mcpServers: { x: { command: "x", env: { TOKEN: 918273 } } } },
      "mcpServers.x.env.TOKEN must be a string",
    ],
    [{ servers: [{ name: "x" }] }, 'servers[0] "x" must have either a command or a url'],
    [
      { servers: [{ name: "x", command: "y", url: "http://z" }] },
      'servers[0] "x" must have either',
    ],
    [{ mcpServers: { x: { url: "file:///etc/passwd" } } }, 'mcpServers "x" url must be an http'],
    [
      {
        servers: [
          { name: "x", command: "y" },
          { name: "x", command: "z" },
        ],
      },
      'servers[1] "x" must have a name of its own',
    ],
    [
      { servers: [{ name: "x", command: "y", env: { T: "918273${MISSING}" } }] },
      'servers[0] "x" env.T uses ${MISSING}, which is not set',
    ],
    [{ servers: [], allowlist: { denied_tools: "all" } }, "allowlist.denied_tools must be"],
  ])("%j is refused, naming file, key and expectation", async (config, expected) => {
    const refused = await read(config);
    if (refused.ok) throw new Error("was accepted");
    expect(refused.problem).toContain(file);
    expect(refused.problem).toContain(expected);
    expect(refused.problem).not.toContain("918273");
  });

  test("that is not there is a problem, not an exception", async () => {
    const missing = join(folder, "missing.json");
    expect(await readConfig(missing, {})).toEqual({
      ok: false,
      problem: `${missing}: can't be read (ENOENT)`,
    });
  });
});
