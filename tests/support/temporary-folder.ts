import { randomUUID } from "node:crypto";
import { realpathSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";

/** A folder for all tests of a file, by its real path; made before the first and removed after the last. */
export function useTemporaryFolder(): string {
  const folder = join(realpathSync(tmpdir()), `stateplane-${randomUUID()}`);
  beforeAll(() => mkdir(folder));
  // Git tidies up on its own behind a command that has ended.
  afterAll(() => rm(folder, { recursive: true, maxRetries: 10 }));
  return folder;
}
