import { createToolHost } from "../../adapters/mcp/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";

/** A process with a tool host over one server, whose command is its arguments; says when the server is there. */
const [command = "", ...args] = process.argv.slice(2);
const own = process.env["OWN_PROCESSES"] === "yes" ? ({ processes: "own" } as const) : {};
const quiet = (): void => undefined;
const host = createToolHost({
  servers: [{ name: "one", command, args, ...own }],
  schemas: createSchemaChecker(),
  log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  clientInfo: { name: "stateplane-test", version: "0" },
});
const listed = await host.list(new AbortController().signal);
process.stdout.write(`${listed.ok ? "ready" : listed.failure.message}\n`);
process.once("SIGTERM", () => void host.close());
setInterval(quiet, 60_000).unref();
