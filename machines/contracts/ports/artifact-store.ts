import type { Outcome } from "../domain/failure.ts";
import type { StepKey } from "../domain/record.ts";

export interface ArtifactRef {
  id: string;
  runId: string;
  stepId: string;
  name: string;
  kind: "file" | "log" | "output" | "trace" | "snapshot";
  /** Hex SHA-256 of the content. */
  sha256: string;
  /** Bytes. */
  size: number;
}

/** Content too large, or too much the user's own, to travel in a message. */
export interface ArtifactStore {
  /** Writes something, so that a store that refuses is known before anything is paid for. */
  check(): Promise<Outcome<null>>;
  put(
    step: StepKey,
    artifact: { name: string; kind: ArtifactRef["kind"]; content: string | Uint8Array },
  ): Promise<Outcome<ArtifactRef>>;
  /** `not_found` when absent, `corrupt_record` when the content no longer matches its checksum. */
  get(runId: string, id: string): Promise<Outcome<{ ref: ArtifactRef; content: Uint8Array }>>;
  list(runId: string): Promise<ArtifactRef[]>;
  delete(runId: string, id: string): Promise<boolean>;
}
