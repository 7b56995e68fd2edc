import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { readConfig } from "../../adapters/mcp/config.ts";

const folder = mkdtempSync(join(tmpdir(), "stateplane-mcp-config-"));
const file = join(folder, "mcp.json");
afterAll(() => rmSync(folder, { recursive: true }));

function read(content: unknown, env: Record<string, string> = {}) {
  const isRaw = typeof content === "string" || Buffer.isBuffer(content);
  writeFileSync(file, isRaw ? content : JSON.stringify(content));
  return readConfig(file, env);
}

/** What a usable file is warned of, without the file's name and the full stop. */
async function warnings(content: unknown, env: Record<string, string> = {}): Promise<string[]> {
  const result = await read(content, env);
  if (!result.ok) throw new Error(result.problem);
  return result.value.warnings.map((text) => text.replace(`${file}: `, "").replace(/\.$/u, ""));
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
        disabled: [],
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
        disabled: [],
        warnings: [],
        allowlist: null,
      },
    });
  });

  test("is read as VS Code keeps it, servers by name", async () => {
    const common = await read({
      inputs: [],
      servers: { files: { type: "stdio", command: "node" } },
    });
    expect(common).toMatchObject({
      ok: true,
      value: { servers: [{ name: "files", command: "node" }], warnings: [] },
    });
  });

  test.each(["utf8", "utf16le", "utf16be"] as const)(
    "is read with a byte-order mark in %s, with comments and trailing commas",
    async (encoding) => {
      const text = `\uFEFF// ours
        { "mcpServers": { /* "off": {}, */ "one": { "url": "http://a//b" }, }, }`;
      const bytes = Buffer.from(text, encoding === "utf8" ? "utf8" : "utf16le");
      expect(await read(encoding === "utf16be" ? bytes.swap16() : bytes)).toMatchObject({
        ok: true,
        value: { servers: [{ name: "one", url: "http://a//b" }], warnings: [] },
      });
    },
  );

  test("says where it is not JSON, and quotes nothing of it", async () => {
    const { problem } = (await read(`{\n  "token": "918273"\n  "x": 1 }`)) as { problem: string };
    expect(problem).toMatch(/must be JSON \(line 3 column 3\)$/);
  });

  test("leaves out what is disabled or not enabled", async () => {
    const config = {
      mcpServers: {
        off: { command: "run", disabled: true },
        out: { url: "http://out.example", enabled: false },
        both: { command: "run", disabled: true, enabled: true },
        on: { command: "run", disabled: false, enabled: true },
      },
    };
    expect(await warnings(config)).toEqual([
      expect.stringContaining('"both" is both disabled and enabled, and counts as disabled'),
    ]);
    expect(await read(config)).toMatchObject({
      value: { servers: [{ name: "on" }], disabled: ["off", "out", "both"] },
    });
  });

  test.each([
    [{ type: "stdio", command: "run" }, {}],
    [{ type: "http", url: "http://a.example" }, { transport: "http" }],
    [{ type: "streamable-http", url: "http://a.example" }, { transport: "http" }],
    [{ type: "streamableHttp", url: "http://a.example" }, { transport: "http" }],
    [{ type: "sse", url: "http://a.example" }, { transport: "sse" }],
    [{ url: "http://a.example", bearerToken: "${T}" }, { bearerToken: "secret" }],
    [
      { url: "http://a.example", oauth: { clientId: "me", clientSecret: "${env:T}" } },
      { oauth: { clientId: "me", clientSecret: "secret" } },
    ],
    [{ command: "run", timeout: 90_000 }, { timeoutMs: 90_000 }],
    [{ command: "run", timeout: 60 }, { timeoutMs: 60_000 }],
    [
      { command: "${T}", cwd: "/srv/${T}" },
      { command: "secret", cwd: "/srv/secret" },
    ],
  ])("reads %j", async (server, expected) => {
    const result = await read({ mcpServers: { one: server } }, { T: "secret" });
    if (!result.ok) throw new Error(result.problem);
    expect(result.value.servers).toEqual([expect.objectContaining({ name: "one", ...expected })]);
    if (!("transport" in expected)) {
      expect(result.value.servers[0]).not.toHaveProperty("transport");
    }
  });

  test("reads an envFile beside it, which env goes before", async () => {
    writeFileSync(join(folder, "one.env"), "\uFEFF# ours\nA=1\nB='two words'\nC=${HOME}\n");
    const config = { mcpServers: { one: { command: "x", envFile: "one.env", env: { A: "own" } } } };
    expect(await read(config)).toMatchObject({
      value: { servers: [{ env: { A: "own", B: "two words", C: "${HOME}" } }] },
    });
    const missing = { mcpServers: { one: { command: "x", envFile: "none.env" } } };
    expect(await read(missing)).toMatchObject({ problem: expect.stringContaining("(ENOENT)") });
  });

  test("names every key that means nothing, with the one that was meant", async () => {
    const config = {
      allowList: {},
      mcpServers: {
        one: {
          command: "run",
          argss: [],
          alwaysAllow: ["x"],
          transport: "sse",
          nonsense: 1,
        },
        two: {
          url: "http://two.example",
          oauth: { clientId: "a", clientSecret: "b", scopes: "c" },
        },
      },
    };
    expect(await warnings(config)).toEqual([
      expect.stringContaining(
        'the file has a key "allowList" that means nothing here; did you mean allowlist?',
      ),
      expect.stringMatching(/"one" has a key "argss" .* did you mean args\?$/),
      expect.stringContaining('the file\'s "allowlist"'),
      expect.stringContaining("did you mean type?"),
      expect.stringMatching(/"nonsense" that means nothing here$/),
      expect.stringMatching(/"two" oauth has a key "scopes" .* did you mean scope\?$/),
    ]);
  });

  test("says which variable of this worker's a server looks for and is not given", async () => {
    const env = { GITHUB_TOKEN: "t", SLACK_BOT_TOKEN: "s", GITHUB_REPOSITORY: "a/b" };
    const told = async (server: object) => warnings({ mcpServers: { github: server } }, env);
    expect(await told({ command: "npx" })).toEqual([
      expect.stringMatching(
        /does not see GITHUB_TOKEN, .*"env": \{ "GITHUB_TOKEN": "\$\{GITHUB_TOKEN\}" \}/,
      ),
    ]);
    expect(await told({ url: "http://github.example" })).toEqual([
      expect.stringContaining('"bearerToken": "${GITHUB_TOKEN}"'),
    ]);
    const given = { GITHUB_PERSONAL_ACCESS_TOKEN: "${GITHUB_TOKEN}" };
    expect(await told({ command: "npx", env: given })).toEqual([]);
    expect(await told({ url: "http://github.example", bearerToken: "${GITHUB_TOKEN}" })).toEqual(
      [],
    );
    const args = ["-y", "@modelcontextprotocol/server-slack"];
    expect(await warnings({ mcpServers: { chat: { command: "npx", args } } }, env)).toEqual([
      expect.stringContaining("SLACK_BOT_TOKEN"),
    ]);
  });

  test("expands only the environment's own variables, and only those that may be handed on", async () => {
    const config = (text: string) => ({
      mcpServers: { one: { command: "run", env: { A: text } } },
    });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.getOwnPropertyNames(Object.prototype), "__proto__", "MISSING"),
        fc.constantFrom("", "env:"),
        async (name, prefix) => {
          const refused = await read(config(`\${${prefix}${name}}`), { OTHER: "x" });
          expect(refused).toMatchObject({
            ok: false,
            problem: expect.stringContaining(`\${${name}}, which is not set`),
          });
        },
      ),
    );
    writeFileSync(file, JSON.stringify(config("${FD_API_KEY:-none}")));
    const own = (name: string) => name !== "FD_API_KEY";
    expect(await readConfig(file, { FD_API_KEY: "918273" }, own)).toEqual({
      ok: false,
      problem: expect.stringMatching(/\$\{FD_API_KEY\}, which this file may not hand on/),
    });
    expect(await readConfig(file, {}, own)).toMatchObject({
      value: { servers: [{ env: { A: "none" } }] },
    });
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

  test.each([
    ["${A:-${B}}", "${A:"],
    ["${A-x}", "${A"],
    ["${A:?secret words}", "${A:"],
    ["${ A }", "${ A"],
    ["${config:x.y}", "${config:x"],
    ["${A}${", "${"],
  ])("warns of %s, which is no variable, by its beginning alone", async (text, told) => {
    const config = { mcpServers: { one: { command: "run", env: { KEY: text } } } };
    const said = await warnings(config, { A: "abc", B: "b" });
    expect(said).toEqual([expect.stringContaining(`"one" has "${told}", which is no variable`)]);
    const result = await read(config, { A: "abc", B: "b" });
    expect(JSON.stringify(result)).not.toContain("abc}");
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
    [{ servers: { github: {} } }, 'servers "github" must have either a command or a url'],
    [{ servers: 3 }, "servers must be"],
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
    [{ servers: [], allowlist: { denied_tool: [] } }, "did you mean denied_tools?"],
    [{ servers: [], allowlist: { denied: [] } }, "a list is one of allowed_tools"],
    [{ mcpServer: {} }, "did you mean mcpServers?"],
    ...[{ tool: "x", wen: { a: "918273" } }, { tool: "x", when: { a: null } }, 3, ""].map(
      (rule): [object, string] => [
        { servers: [], allowlist: { denied_tools: ["y", rule] } },
        'allowlist.denied_tools[1] must be a tool\'s name, or {"tool": NAME, "when": ',
      ],
    ),
    [{ mcpServers: { x: { type: "carrier pigeon", command: "y" } } }, "type must be stdio, http"],
    [{ mcpServers: { x: { type: "sse", command: "y" } } }, "goes with a url"],
    [{ mcpServers: { x: { type: "stdio", url: "http://z" } } }, "goes with a command"],
    [{ mcpServers: { x: { command: "y", bearerToken: "918273" } } }, "must go with a url"],
    [
      { mcpServers: { x: { url: "http://z", oauth: { clientId: "y" } } } },
      "mcpServers.x.oauth.clientSecret must be",
    ],
    [
      { mcpServers: { x: { command: "y", env: { T: "${input:token}" } } } },
      "${input:token}, which only an editor asks for",
    ],
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
