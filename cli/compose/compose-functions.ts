import type { Tool } from "@modelcontextprotocol/client";
import { createFunctionHost, functionServer } from "../../adapters/functions/host.ts";
import { joinToolHosts } from "../../adapters/functions/join-hosts.ts";
import type { McpHost, ServerLook } from "../../adapters/mcp/host.ts";
import { pinOf } from "../../adapters/mcp/pins.ts";
import { ok } from "../../machines/contracts/domain/failure.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { SchemaChecker } from "../../machines/contracts/ports/schema-checker.ts";
import type { ToolDescription, ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { Settings } from "../config/settings.ts";
import { canLook } from "./look-at-tools.ts";

/** The configuration's own functions beside the tools of its servers, and shown beside them. */
export function composeFunctions(
  tools: NonNullable<Settings["tools"]>,
  servers: ToolHost,
  schemas: SchemaChecker,
  log: Log,
): McpHost {
  const functions = createFunctionHost({ tools, schemas, log });
  const look: McpHost["look"] = async (signal, atStart) => {
    const listed = await functions.list(signal);
    const own = listed.ok ? listed.value : [];
    const others = canLook(servers) ? await servers.look(signal, atStart) : [];
    const owned = new Set(own.map(({ name }) => name));
    const elsewhere = new Set(
      others.flatMap(({ found }) => (found?.ok ? found.value.tools.map(({ name }) => name) : [])),
    );
    return [
      lookOf(own, (name) => (elsewhere.has(name) ? `${functionServer}/${name}` : name)),
      ...others.map((other) => ({
        ...other,
        address: (name: string) =>
          owned.has(name) ? `${other.name}/${name}` : other.address(name),
      })),
    ];
  };
  return Object.assign(joinToolHosts(functions, servers, log), {
    look,
    states: () => (canLook(servers) ? servers.states() : {}),
  });
}

function lookOf(own: readonly ToolDescription[], address: (name: string) => string): ServerLook {
  const tools = own.map((tool): Tool => {
    const { name, description, inputSchema, outputSchema, readOnly, safeToRepeat } = tool;
    return {
      name,
      description,
      inputSchema: inputSchema as Tool["inputSchema"],
      ...(outputSchema === null ? {} : { outputSchema: outputSchema as Tool["outputSchema"] }),
      annotations: { readOnlyHint: readOnly, idempotentHint: safeToRepeat },
    };
  });
  const pin = pinOf({ name: functionServer, version: "" }, tools);
  const nothing = new Map<string, never>();
  return {
    name: functionServer,
    found: ok({ pin, tools, disabled: nothing, flags: nothing, refused: null }),
    isShadowed: () => false,
    address,
  };
}
