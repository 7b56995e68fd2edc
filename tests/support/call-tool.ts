import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type { ToolHost, ToolResult } from "../../machines/contracts/ports/tool-host.ts";

/** Calls a tool by a name, as a worker does: the name is resolved, then exactly what it means is called. */
export async function callTool(
  host: ToolHost,
  name: string,
  input: JsonObject,
  signal: AbortSignal,
  idempotencyKey?: string,
): Promise<Outcome<ToolResult>> {
  const described = await host.describe(name, signal);
  return described.ok ? host.call(described.value, input, signal, idempotencyKey) : described;
}
