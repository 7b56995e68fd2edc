import { randomUUID } from "node:crypto";
import { mkdir, open, readFile, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import writeFileAtomic from "write-file-atomic";
import {
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import { checkArtifact, nameless, placeOf, toRef, writeMetadata } from "./artifact.ts";

/**
 * Artifacts on a disk; for the layout see {@link placeOf}. The metadata is written last, so an artifact is there wholly
 * or not at all.
 *
 * @param options.isShared whether every worker that may take a step over sees this folder
 */
export function createArtifactFolder(options: { path: string; isShared: boolean }): ArtifactStore {
  const { path, isShared } = options;
  return {
    isShared,

    check: () =>
      attempt(`the artifacts folder ${path} can't be written`, async () => {
        await makeFolder(path);
        const probe = join(path, `.check-${randomUUID()}`);
        await writeDurably(probe, "x");
        await unlink(probe);
        return ok(null);
      }),

    async put(step, { name, kind, content, id }) {
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      const ref = toRef(step, { name, kind, id }, bytes);
      const place = placeOf(step.runId, ref.id);
      if (place === null) return fail(nameless("run id"));
      return attempt(`artifact ${ref.id} can't be written to ${path}`, async () => {
        const folder = join(path, place);
        await makeFolder(folder);
        await writeDurably(join(folder, "content"), bytes);
        await writeDurably(join(folder, "metadata.json"), writeMetadata(ref));
        return ok(ref);
      });
    },

    async get(runId, id) {
      const place = placeOf(runId, id);
      if (place === null) return fail(nameless("run id or artifact id"));
      return attempt(`artifact ${id} can't be read from ${path}`, async () => {
        const folder = join(path, place);
        const metadata = await readIfThere(join(folder, "metadata.json"));
        const content = metadata === null ? null : await readIfThere(join(folder, "content"));
        return checkArtifact(id, metadata, content);
      });
    },
  };
}

/**
 * Makes a folder with those above it, for this user alone: it holds what tools read and models said. Node's own way (`recursive`) never ends where a system answers ENOENT for a
 * folder whose parent is there, as /proc does.
 */
async function makeFolder(path: string): Promise<void> {
  const make = () =>
    mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error;
    });
  try {
    await make();
  } catch (error) {
    if (codeOf(error) !== "ENOENT" || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await make();
  }
}

/** A whole file or none; and its name is on the disk too. */
async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  await writeFileAtomic(path, typeof content === "string" ? content : Buffer.from(content), {
    mode: 0o600,
  });
  await using folder = await open(dirname(path), "r");
  await folder.sync();
}

async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  }
}

/** What a person has to mend: no room, no right, a read-only disk, a file where a folder should be. */
const oursToMend = new Set([
  "ENOSPC",
  "EDQUOT",
  "EACCES",
  "EPERM",
  "EROFS",
  "ENOTDIR",
  "EISDIR",
  "ELOOP",
  "ENOENT",
]);

async function attempt<T>(what: string, work: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error);
    if (code === null) throw error;
    const message = `${what} (${code})`;
    return fail(
      oursToMend.has(code) ? terminal("misconfigured", message) : retryable("unavailable", message),
    );
  }
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error ? String(error.code) : null;
}
