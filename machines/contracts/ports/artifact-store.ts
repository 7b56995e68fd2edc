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

/**
 * Content too large, or too much the user's own, to travel in a message. A store that refuses us or is full is a
 * `misconfigured` failure, ours to mend; one that can't be reached is `unavailable`; a step that can't be named is
 * `invalid_input`.
 */
export interface ArtifactStore {
  /**
   * Whether every worker that may take a step over can read what is put here. What a step needs to go on is kept here
   * only then, else with its journal.
   */
  readonly isShared: boolean;
  /** Writes something, so that a store that refuses is known before anything is paid for. */
  check(): Promise<Outcome<null>>;
  /**
   * What is put twice, byte for byte, is kept once. Its id follows from its content; what has to be found by those who
   * were not told it is given an `id` of its own, unique in the run, and takes the place of what was kept under that.
   */
  put(
    step: StepKey,
    artifact: {
      name: string;
      kind: ArtifactRef["kind"];
      content: string | Uint8Array;
      id?: string;
    },
  ): Promise<Outcome<ArtifactRef>>;
  /** `not_found` when absent, `corrupt_record` when the content no longer matches its checksum. */
  get(runId: string, id: string): Promise<Outcome<{ ref: ArtifactRef; content: Uint8Array }>>;
}
