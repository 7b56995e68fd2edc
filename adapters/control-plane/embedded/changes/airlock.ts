import { createHash } from "node:crypto";
import {
  type Finding,
  inspectCall,
} from "../../../../machines/contracts/domain/airlock/inspect.ts";
import { type PastCall, withCall } from "../../../../machines/contracts/domain/airlock/pace.ts";
import type { AirlockSettings } from "../../../../machines/contracts/domain/airlock/settings.ts";
import type { JsonObject } from "../../../../machines/contracts/domain/json.ts";
import { toolLabel, type ToolPair } from "../../../../machines/contracts/domain/tool-lists.ts";
import type { Run } from "../documents.ts";
import type { Call } from "./check-tool.ts";

/** What the plane inspects tool calls with. */
export interface Airlock {
  settings: AirlockSettings;
}

export interface Inspected {
  findings: Finding[];
  /** The run's calls that later looks need, this one among them. */
  recentCalls: PastCall[];
}

/** What the Airlock finds in a call of a run. */
export function inspect(
  { settings }: Airlock,
  run: Run,
  call: ToolPair & Pick<Call, "callId" | "costCents" | "drift"> & { input: JsonObject },
  now: number,
): Inspected {
  const { server, name, input, callId, costCents, drift } = call;
  const text = JSON.stringify([toolLabel(call), input]);
  const digest = createHash("sha256").update(text).digest("base64url").slice(0, 22);
  const past = { at: now, digest, id: callId, cents: costCents };
  const recentCalls = withCall(run.recentCalls ?? [], past, settings.rules);
  const tool = { server, name, input };
  return { recentCalls, findings: inspectCall(settings, { tool, calls: recentCalls, now, drift }) };
}
