import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Answer } from "./server-tool.ts";

/** What the system refused (a full disk, a folder that is not there), in its words; anything else is thrown on. */
export function systemProblem(error: unknown): string {
  if (error instanceof Error && "code" in error && "syscall" in error) return error.message;
  throw error;
}

/** Works in a folder of its own, which is gone afterwards. That there can't be one is a problem. */
export async function inTemporaryFolder<T>(
  prefix: string,
  use: (folder: string) => Promise<Answer<T>>,
): Promise<Answer<T>> {
  const at = tmpdir();
  const mend = "set TMPDIR to a folder that is there, can be written and has room";
  let folder: string;
  try {
    folder = await mkdtemp(join(at, prefix));
  } catch (error) {
    return {
      ok: false,
      problem: `no folder can be made in ${at} (${systemProblem(error)}): ${mend}`,
    };
  }
  try {
    return await use(folder);
  } catch (error) {
    return { ok: false, problem: `${folder} can't be used (${systemProblem(error)}): ${mend}` };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
