import { createHash } from "node:crypto";
import { type } from "arktype";
import { once } from "../../machines/contracts/domain/once.ts";
import { fail, terminal, type Failure } from "../../machines/contracts/domain/failure.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { ArtifactRef } from "../../machines/contracts/ports/artifact-store.ts";

/** Longer names are cut: most file systems take 255 bytes. */
const longestName = 200;

/**
 * The place of an artifact, laid out as FerrumDeck has it: `{run_id}/artifacts/{id}`, with `content` and
 * `metadata.json` in it; null for a run without a name. Both ids are one plain name each, wherever they come from.
 */
export function placeOf(runId: string, id: string): string | null {
  const [run, own] = [plainName(runId), plainName(id)];
  return run === null || own === null ? null : `${run}/artifacts/${own}`;
}

/**
 * One name that can lead nowhere else and that every file system and URL takes: letters, digits, `_`, `-`, and single
 * dots inside stay as they are, every other byte is percent-encoded. No two names share one. Null for what is no name:
 * nothing, or half a character.
 */
export function plainName(name: string): string | null {
  if (name === "" || !name.isWellFormed()) return null;
  const encoded = encodeURIComponent(name).replaceAll(
    /[!'()*~]|^\.|\.$|(?<=\.)\./g,
    (character) => {
      const code = character.charCodeAt(0).toString(16).toUpperCase();
      return `%${code}`;
    },
  );
  return encoded.length <= longestName
    ? encoded
    : `${encoded.slice(0, longestName - 65)}~${hash(name)}`;
}

/** The id follows from run, step, name, kind and content, where none is given: what is put twice is kept once. */
export function toRef(
  { runId, stepId }: StepKey,
  { name, kind, id: given }: Pick<ArtifactRef, "name" | "kind"> & { id?: string | undefined },
  bytes: Uint8Array,
): ArtifactRef {
  const sha256 = hash(bytes);
  const id = given ?? hash(JSON.stringify([runId, stepId, name, kind, sha256])).slice(0, 16);
  return { id, runId, stepId, name, kind, sha256, size: bytes.byteLength };
}

/** What was read of an artifact, checked: `metadata` and `content` are null where they were not there. */
export function checkArtifact(
  id: string,
  metadata: Uint8Array | null,
  content: Uint8Array | null,
): Outcome<{ ref: ArtifactRef; content: Uint8Array }> {
  if (metadata === null) return fail(terminal("not_found", `there is no artifact ${id}`));
  const ref = parseMetadata(new TextDecoder().decode(metadata));
  if (ref === null) return fail(corrupt(id, "its metadata is not what we write"));
  return content !== null && hash(content) === ref.sha256
    ? { ok: true, value: { ref, content } }
    : fail(corrupt(id, "its content does not match its SHA-256"));
}

export function nameless(what: string): Failure {
  return terminal("invalid_input", `the ${what} can't be the name of an artifact's place`);
}

function corrupt(id: string, problem: string): Failure {
  return terminal("corrupt_record", `artifact ${id}: ${problem}`);
}

function hash(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

const shape = once(() =>
  type({
    id: "string",
    run_id: "string",
    step_id: "string",
    name: "string",
    kind: "'file' | 'log' | 'output' | 'trace' | 'snapshot'",
    sha256: /^[0-9a-f]{64}$/,
    size: "number.integer >= 0",
  }),
);

export function writeMetadata(ref: ArtifactRef): string {
  const { id, runId, stepId, name, kind, sha256, size } = ref;
  const created_at = new Date().toISOString();
  const metadata = { id, run_id: runId, step_id: stepId, name, kind, sha256, size, created_at };
  return `${JSON.stringify(metadata, null, 2)}\n`;
}

/** Null when the text is not what {@link writeMetadata} writes. */
export function parseMetadata(text: string): ArtifactRef | null {
  const read = type("string.json.parse").to(shape())(text);
  if (read instanceof type.errors) return null;
  const { id, run_id, step_id, name, kind, sha256, size } = read;
  return { id, runId: run_id, stepId: step_id, name, kind, sha256, size };
}
