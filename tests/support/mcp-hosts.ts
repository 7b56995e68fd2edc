import { fileURLToPath } from "node:url";
import { afterEach } from "vitest";
import { createToolHost, type McpHost } from "../../adapters/mcp/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { PinOptions } from "../../adapters/mcp/pins.ts";
import type { McpServer } from "../../adapters/mcp/config.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";

const oddServer = fileURLToPath(new URL("./odd-mcp-server.ts", import.meta.url));

export interface McpHosts {
  /** What the hosts warned of in this test. */
  warnings: string[];
  /** @param timeoutMs for a connect, which starts a program, for a list, and for a call that has no limit of its own */
  hostOf(servers: McpServer[], timeoutMs?: number, pins?: PinOptions): McpHost;
  /** Our own server of odd behaviour (`odd-mcp-server.ts`), run with `env`. */
  odd(env?: Record<string, string>, name?: string): McpServer & { command: string; args: string[] };
}

/** Tool hosts for the tests of a file; each is closed after its test. */
export function useMcpHosts(): McpHosts {
  const hosts: ToolHost[] = [];
  const warnings: string[] = [];
  const log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (_: object, message: string) => void warnings.push(message),
    error: () => undefined,
  };
  afterEach(async () => {
    await Promise.all(hosts.splice(0).map((host) => host.close()));
    warnings.length = 0;
  });
  return {
    warnings,
    hostOf(servers, timeoutMs = 60_000, pins) {
      const clientInfo = { name: "stateplane-test", version: "0" };
      const host = createToolHost({
        servers,
        schemas: createSchemaChecker(),
        log,
        clientInfo,
        timeoutMs,
        ...(pins === undefined ? {} : { pins }),
      });
      hosts.push(host);
      return host;
    },
    odd: (env = {}, name = "odd") => ({
      name,
      command: process.execPath,
      args: [oddServer],
      env,
    }),
  };
}
