import { createHash } from "node:crypto";
import { fail, ok, retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import type { ArtifactRef, ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { ActiveFaults } from "./faults.ts";

export type Artifacts = Map<string, { ref: ArtifactRef; content: Uint8Array }>;

/** A folder that all workers of a history share, and that refuses writes for a while. */
export function simulatedArtifacts(kept: Artifacts, faults: ActiveFaults): ArtifactStore {
  const refusal = () => {
    if (faults.artifacts === null) return null;
    return faults.artifacts === "passing"
      ? fail(retryable("unavailable", "the artifacts' folder can't be reached"))
      : fail(terminal("misconfigured", "the artifacts' folder is not writable"));
  };
  return {
    isShared: true,
    check: async () => refusal() ?? ok(null),
    async put({ runId, stepId }, { name, kind, content }) {
      const refused = refusal();
      if (refused !== null) return refused;
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      const ref = { id: sha256, runId, stepId, name, kind, sha256, size: bytes.length };
      kept.set(`${runId} ${sha256}`, { ref, content: bytes });
      return ok(ref);
    },
    async get(runId, id) {
      const found = kept.get(`${runId} ${id}`);
      return found === undefined ? fail(terminal("not_found", `no artifact ${id}`)) : ok(found);
    },
  };
}
