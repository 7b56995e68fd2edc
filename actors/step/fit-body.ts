import type { JsonObject } from "../../machines/contracts/json.ts";
import type { Outcome } from "../../machines/contracts/outcome.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { StepKey } from "../../machines/contracts/record.ts";
import type { StepResultBody } from "../../machines/contracts/step-result.ts";

const previewLength = 2_000;

/**
 * A body the control plane will take: if its JSON is longer than `maxBytes`, its output moves to an artifact
 * and a note stands in its place. Nothing is dropped.
 */
export async function fitBody(
  artifacts: ArtifactStore,
  step: StepKey,
  body: StepResultBody,
  maxBytes: number,
): Promise<Outcome<StepResultBody>> {
  if (Buffer.byteLength(JSON.stringify(body)) <= maxBytes) return { ok: true, value: body };
  const parts: JsonObject = { output: body.output ?? null, error: body.error ?? null };
  const content = JSON.stringify(parts);
  const kept = await artifacts.put(step, { name: "result.json", kind: "output", content });
  if (!kept.ok) return kept;
  const { id, sha256, size } = kept.value;
  const note: JsonObject = {
    note: `the result was longer than the control plane takes (${maxBytes} bytes) and is kept as an artifact`,
    artifact: { id, sha256, size },
    preview: content.slice(0, previewLength),
  };
  const { error, ...rest } = body;
  const short =
    error === undefined ? {} : { error: { ...error, message: brief(error), details: {} } };
  return { ok: true, value: { ...rest, ...short, output: note } };
}

const brief = (error: JsonObject): string => String(error["message"]).slice(0, previewLength);
