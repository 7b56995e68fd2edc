import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { ToolResult } from "../../machines/contracts/ports/tool-host.ts";
import type { StepScope } from "./handler.ts";

/** What a tool gave, as a step's output shows it: of each attachment where it is kept, or why it is not. */
export interface KeptResult {
  content: Json;
  artifacts?: JsonObject[];
}

/**
 * Keeps a tool's attachments as artifacts of the step. The tool has run: what can't be kept is said to be lost, and is no
 * reason to run it again.
 */
export async function keepAttachments(
  artifacts: ArtifactStore,
  { job: step, screening }: Pick<StepScope, "job" | "screening">,
  { content, attachments = [] }: ToolResult,
): Promise<KeptResult> {
  if (attachments.length === 0) return { content };
  const parts: Json[] | null = Array.isArray(content) ? [...content] : null;
  const kept: JsonObject[] = [];
  for (const { name, mimeType, content: given, part } of attachments) {
    const bytes = isText(mimeType ?? "") ? withoutSecrets(given, screening.hideInText) : given;
    const put = await artifacts.put(step, { name, kind: "file", content: bytes });
    const size = bytes.byteLength;
    if (put.ok) kept.push({ name, mimeType, size, id: put.value.id, sha256: put.value.sha256 });
    else kept.push({ name, mimeType, size, id: null, problem: put.failure.message });
    const described = part === null ? null : parts?.[part];
    if (parts === null || part === null || described === null || described === undefined) continue;
    const place = put.ok ? { artifact: put.value.id } : { notKept: put.failure.message };
    parts[part] = { ...(described as JsonObject), ...place };
  }
  return { content: parts ?? content, artifacts: kept };
}

/** What people read as text; what else there is, is kept as it came. */
const isText = (mimeType: string): boolean =>
  /^text\/|[/+](?:json|xml|yaml|x-yaml|toml|javascript|x-sh|sql|csv)\b/iu.test(mimeType);

/** Hidden in what is UTF-8; other bytes stay as they are. */
export function withoutSecrets(bytes: Uint8Array, hide: (text: string) => string): Uint8Array {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return bytes;
  }
  const safe = hide(text);
  return safe === text ? bytes : new TextEncoder().encode(safe);
}
