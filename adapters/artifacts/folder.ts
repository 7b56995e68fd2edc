import { createHash, randomUUID } from "node:crypto";
import { mkdir, readFile, readdir, rm, unlink, open, rename } from "node:fs/promises";
import { join, dirname } from "node:path";
import { type } from "arktype";
import {
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { ArtifactRef, ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";

/**
 * Artifacts on a disk, laid out as FerrumDeck has them: `{path}/{run_id}/artifacts/{id}/{content,metadata.json}`.
 * The id follows from run, step, name, kind and content: what is put twice is kept once. The metadata is written
 * last, so an artifact is there wholly or not at all.
 */
export function createArtifactFolder({ path }: { path: string }): ArtifactStore {
  const runFolder = (runId: string) => join(path, runId, "artifacts");
  const place = (runId: string, id: string) => join(runFolder(runId), id);

  return {
    async check() {
      return attempt("the artifacts folder can't be written", async () => {
        await mkdir(path, { recursive: true });
        const probe = join(path, `.check-${randomUUID()}`);
        await writeAtomically(probe, "");
        await unlink(probe);
        return ok(null);
      });
    },

    async put(step, { name, kind, content }) {
      if (!isSafeName(step.runId)) return fail(unsafe("run id", step.runId));
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      const sha256 = hash(bytes);
      const { runId, stepId } = step;
      const id = hash(JSON.stringify([runId, stepId, name, kind, sha256])).slice(0, 16);
      const ref: ArtifactRef = { id, runId, stepId, name, kind, sha256, size: bytes.byteLength };
      return attempt(`artifact ${id} can't be written`, async () => {
        const folder = place(runId, id);
        await mkdir(folder, { recursive: true });
        await writeAtomically(join(folder, "content"), bytes);
        await writeAtomically(join(folder, "metadata.json"), writeMetadata(ref));
        return ok(ref);
      });
    },

    async get(runId, id) {
      if (!isSafeName(runId)) return fail(unsafe("run id", runId));
      if (!isSafeName(id)) return fail(unsafe("artifact id", id));
      return attempt(`artifact ${id} can't be read`, async () => {
        const metadata = await readIfThere(join(place(runId, id), "metadata.json"));
        if (metadata === null) return fail(terminal("not_found", `there is no artifact ${id}`));
        const ref = parseMetadata(metadata.toString("utf8"));
        if (ref === null) return fail(corrupt(id, "its metadata is not what we write"));
        const content = await readIfThere(join(place(runId, id), "content"));
        return content !== null && hash(content) === ref.sha256
          ? ok({ ref, content })
          : fail(corrupt(id, "its content does not match its SHA-256"));
      });
    },

    async list(runId) {
      if (!isSafeName(runId)) return [];
      const ids = await readdir(runFolder(runId)).catch(absent([]));
      const metadata = await Promise.all(
        ids.map((id) => readIfThere(join(place(runId, id), "metadata.json"))),
      );
      return metadata.flatMap((file) => {
        const ref = file === null ? null : parseMetadata(file.toString("utf8"));
        return ref === null ? [] : [ref];
      });
    },

    async delete(runId, id) {
      if (!isSafeName(runId) || !isSafeName(id)) return false;
      const folder = place(runId, id);
      // The metadata first: half a deletion is then as good as a whole one.
      const known = await unlink(join(folder, "metadata.json")).then(() => true, absent(false));
      await rm(folder, { recursive: true, force: true });
      return known;
    },
  };
}

function hash(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function readIfThere(path: string): Promise<Buffer | null> {
  return readFile(path).catch(absent(null));
}

/** Stands in for what is not there; any other trouble goes on. */
function absent<T>(value: T): (error: unknown) => T {
  return (error) => {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return value;
    throw error;
  };
}

/** A disk that is full, read-only or gone may be mended; other errors nobody expected. */
async function attempt<T>(what: string, work: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error);
    if (code === null) throw error;
    return fail(retryable("unavailable", `${what} (${code})`));
  }
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error ? String(error.code) : null;
}

function unsafe(what: string, name: string) {
  const shown = JSON.stringify(name.slice(0, 100));
  return terminal(
    "invalid_input",
    `${what} ${shown}: expected letters, digits, _, - and single dots`,
  );
}

function corrupt(id: string, problem: string) {
  return terminal("corrupt_record", `artifact ${id}: ${problem}`);
}

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

/** True for a name that is one plain folder and can lead nowhere else: no slash, no leading dot, no `..`. */
export function isSafeName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/u.test(name) && !name.includes("..");
}

/** Writes a whole file or none: beside its place, flushed to the disk, then renamed; and the name flushed too. */
export async function writeAtomically(path: string, content: string | Uint8Array): Promise<void> {
  const draft = `${path}.${randomUUID()}.tmp`;
  try {
    await using file = await open(draft, "wx", 0o600);
    await file.writeFile(content);
    await file.sync();
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  await using folder = await open(dirname(path), "r");
  await folder.sync();
}
