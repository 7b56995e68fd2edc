import { type Failure, terminal } from "../../machines/contracts/failure.ts";
import type { Json, JsonObject } from "../../machines/contracts/json.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { StepKey } from "../../machines/contracts/record.ts";
import { StoreFailure } from "../store-failure.ts";

/** What became of an effect, as the journal keeps it: a terminal failure is a result too. */
export type Stowed = { value: Json } | { failure: Failure };

/** A longer result goes to an artifact, and the journal names it by digest. Bytes of JSON. */
const maxInlineBytes = 256 * 1024;

/**
 * Makes a journal entry's result of an effect's outcome.
 *
 * @throws StoreFailure when a long one can't be kept
 */
export async function stow(
  artifacts: ArtifactStore,
  step: StepKey,
  outcome: Stowed,
): Promise<JsonObject> {
  const content = JSON.stringify(outcome);
  if (Buffer.byteLength(content) <= maxInlineBytes) return outcome as unknown as JsonObject;
  const kept = await artifacts.put(step, { name: "effect.json", kind: "output", content });
  if (!kept.ok) throw new StoreFailure(kept.failure.message);
  return { artifact: { id: kept.value.id, sha256: kept.value.sha256 } };
}

/** Reads what {@link stow} made; an artifact that is gone or changed is a failure of the step, never a repeat. */
export async function unstow(artifacts: ArtifactStore, step: StepKey, kept: Json): Promise<Stowed> {
  const { artifact } = (kept ?? {}) as { artifact?: { id: string; sha256: string } };
  if (artifact === undefined) return kept as unknown as Stowed;
  const found = await artifacts.get(step.runId, artifact.id);
  if (found.ok && found.value.ref.sha256 === artifact.sha256) {
    return JSON.parse(new TextDecoder().decode(found.value.content)) as Stowed;
  }
  const why = found.ok ? "its content has changed" : found.failure.message;
  const message = `the result of a completed effect can't be read: artifact ${artifact.id}: ${why}`;
  return { failure: terminal("corrupt_record", message) };
}
