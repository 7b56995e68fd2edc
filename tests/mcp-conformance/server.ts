/**
 * The git server behind HTTP, for the conformance suite, which speaks nothing else: the same server object that
 * `stateplane mcp git` serves over standard streams, a new one for each request. Prints its address.
 */
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve } from "@hono/node-server";
import {
  createMcpHandler,
  hostHeaderValidationResponse,
  localhostAllowedHostnames,
} from "@modelcontextprotocol/server";
import { type } from "arktype";
import { clone } from "../../tools/git/clone.ts";
import { log } from "../../tools/git/log.ts";
import { status } from "../../tools/git/status.ts";
import { serverTool, toolServer } from "../../tools/shared/server-tool.ts";

const workspace = realpathSync(mkdtempSync(join(tmpdir(), "stateplane-conformance-")));
process.once("SIGTERM", () => {
  rmSync(workspace, { recursive: true });
  process.exit();
});
const context = {
  workspace,
  remotes: { hosts: new Set<string>(), protect: [], tokens: new Map<string, string>() },
};
/** The suite's own tools that an answer of text or a failure make up; its others give what ours never do. */
const annotations = {
  title: "Test",
  readOnlyHint: true,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: false,
};
const about = { description: "A tool of the suite.", annotations, input: type({}) };
const says = serverTool({
  ...about,
  name: "test_simple_text",
  output: type({ said: "string" }),
  run: async () => {
    const text = "This is a simple text response for testing.";
    return { ok: true, value: { text, structured: { said: text } } };
  },
});
const fails = serverTool({
  ...about,
  name: "test_error_handling",
  output: type({}),
  run: async () => ({
    ok: false,
    problem: "This tool intentionally returns an error for testing",
  }),
});
const never = new AbortController().signal;
const handler = createMcpHandler(() =>
  toolServer("stateplane-mcp-git", [status, log, clone, says, fails], context, never),
);
const fetch = async (request: Request) =>
  hostHeaderValidationResponse(request, localhostAllowedHostnames()) ?? handler.fetch(request);
serve({ fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) => {
  process.stdout.write(`http://127.0.0.1:${port}/mcp\n`);
});
