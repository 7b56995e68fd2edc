import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();

/** Starts and ends a data plane, and returns what its configuration saw of its process. */
async function startWith(env: Record<string, string>): Promise<unknown> {
  const dev = startCli(["dev"], { cwd: folder, env: { TMPDIR: folder, ...env } });
  try {
    await dev.says("Ctrl-C stops.");
  } finally {
    dev.kill("SIGTERM");
  }
  expect((await dev.ended).code).toBe(0);
  return JSON.parse(await readFile(join(folder, "start"), "utf8"));
}

it("a second start finds all its code compiled, and what served the start alone is no longer in the environment", async () => {
  await writeFile(
    join(folder, "stateplane.config.ts"),
    `import { writeFileSync } from "node:fs";
    const { NODE_COMPILE_CACHE = null } = process.env;
    const hasReadTypeScript = process.moduleLoadList.some((name) => name.includes("amaro"));
    writeFileSync("start", JSON.stringify({ NODE_COMPILE_CACHE, hasReadTypeScript }));
    export default {};`,
  );
  await startWith({});
  expect(await startWith({})).toEqual({ NODE_COMPILE_CACHE: null, hasReadTypeScript: false });
  const own = join(folder, "own-cache");
  expect(await startWith({ NODE_COMPILE_CACHE: own })).toMatchObject({ NODE_COMPILE_CACHE: own });
});
