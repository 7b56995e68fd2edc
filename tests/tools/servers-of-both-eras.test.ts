import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { RecordedServer } from "../support/recorded-server.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const base = useTemporaryFolder();
const root = join(base, "root");
beforeAll(() => {
  mkdirSync(join(root, "project"), { recursive: true });
  writeFileSync(join(root, "project", "a.test.js"), "");
  execFileSync("git", ["init", "--quiet", "--initial-branch=main"], { cwd: join(root, "project") });
});

const servers = [
  { name: "git", tool: "git_status", answer: { branch: "main", files: expect.any(Array) } },
  { name: "test-runner", tool: "detect", answer: { runners: [], commands: [] } },
];
/** All that a client of 2026-07-28 says of itself, in each request. */
const _meta = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
  "io.modelcontextprotocol/clientCapabilities": {},
};

const start = (name: string, era: string) =>
  new RecordedServer(
    join(base, `${name}-${era}`),
    fileURLToPath(new URL(`../../tools/${name}/server.ts`, import.meta.url)),
    ["--root", root],
    { cwd: base },
  );

test.each(servers)(
  "the $name server speaks to a client that begins with a handshake, of any revision that has one [mcp.served-eras]",
  async ({ name, tool, answer }) => {
    for (const protocolVersion of ["2024-11-05", "2025-06-18", "2025-11-25"]) {
      const server = start(name, protocolVersion);
      const clientInfo = { name: "test", version: "1" };
      const hello = await server.ask("initialize", {
        protocolVersion,
        capabilities: {},
        clientInfo,
      });
      expect(hello.result).toMatchObject({
        protocolVersion,
        serverInfo: { name: `stateplane-mcp-${name}` },
      });
      expect((await server.call(tool, { repo: "project" })).result).toMatchObject({
        structuredContent: answer,
      });
      const unknown = await server.call("no_such_tool", {});
      expect(unknown.error?.message).toContain('no tool "no_such_tool"');
      await server.stop();
    }
  },
);

test.each(servers)(
  "the $name server speaks to a client without a handshake, which says in each request who it is [mcp.served-eras]",
  async ({ name, tool, answer }) => {
    const server = start(name, "stateless");
    const found = await server.ask("server/discover", { _meta });
    expect(found.result).toMatchObject({ capabilities: { tools: {} } });
    expect(JSON.stringify(found.result)).toContain("2026-07-28");
    const listed = await server.ask("tools/list", { _meta });
    expect(listed.result?.tools?.map((one) => one.name)).toContain(tool);
    const called = await server.ask("tools/call", {
      name: tool,
      arguments: { repo: "project" },
      _meta,
    });
    expect(called.result).toMatchObject({ resultType: "complete", structuredContent: answer });
    const refused = await server.ask("tools/call", { name: tool, arguments: { repo: "" }, _meta });
    expect(refused.result?.isError).toBe(true);
    await server.stop();
  },
);
