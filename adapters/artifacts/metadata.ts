import { type } from "arktype";
import type { ArtifactRef } from "../../machines/contracts/ports/artifact-store.ts";

const shape = type({
  id: "string",
  run_id: "string",
  step_id: "string",
  name: "string",
  kind: "'file' | 'log' | 'output' | 'trace' | 'snapshot'",
  sha256: /^[0-9a-f]{64}$/,
  size: "number.integer >= 0",
});

export function writeMetadata({
  id,
  runId,
  stepId,
  name,
  kind,
  sha256,
  size,
}: ArtifactRef): string {
  const created_at = new Date().toISOString();
  const metadata = { id, run_id: runId, step_id: stepId, name, kind, sha256, size, created_at };
  return `${JSON.stringify(metadata, null, 2)}\n`;
}

/** Null when the text is not what {@link writeMetadata} writes. */
export function parseMetadata(text: string): ArtifactRef | null {
  const read = type("string.json.parse").to(shape)(text);
  if (read instanceof type.errors) return null;
  const { id, run_id, step_id, name, kind, sha256, size } = read;
  return { id, runId: run_id, stepId: step_id, name, kind, sha256, size };
}
