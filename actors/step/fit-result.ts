import type { Failure } from "../../machines/contracts/failure.ts";
import type { JsonObject } from "../../machines/contracts/json.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { StepKey } from "../../machines/contracts/record.ts";
import type { StepResult } from "../../machines/contracts/step-result.ts";
import { StoreFailure } from "../store-failure.ts";

const previewLength = 2_000;

/**
 * A result that store and control plane will take: if its JSON is longer than `maxBytes`, its large parts move
 * to an artifact and a note stands in their place. Nothing is dropped, and the same result is always cut the
 * same way, so that a repeated report has the same body.
 *
 * @throws StoreFailure when the artifact can't be kept: the step is let go rather than its result lost
 */
export async function fitResult(
  artifacts: ArtifactStore,
  step: StepKey,
  result: StepResult,
  maxBytes: number,
): Promise<StepResult> {
  if (Buffer.byteLength(JSON.stringify(result)) <= maxBytes) return result;
  const content = JSON.stringify(result);
  const kept = await artifacts.put(step, { name: "result.json", kind: "output", content });
  if (!kept.ok) throw new StoreFailure(kept.failure.message);
  const { id, sha256, size } = kept.value;
  const output: JsonObject = {
    note: `the result was longer than ${maxBytes} bytes and is kept as an artifact`,
    artifact: { id, sha256, size },
    preview: JSON.stringify(result.output).slice(0, previewLength),
  };
  if (result.status === "completed") return { ...result, output };
  return { ...result, output, failure: brief(result.failure) };
}

function brief({ kind, message, retryable }: Failure): Failure {
  return { kind, message: message.slice(0, previewLength), retryable };
}
