import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();

it.for([{}, { MALLOC_ARENA_MAX: "3" }])(
  "what only the program's start needs is nobody's afterwards, and a user's own %o stays [net.environment]",
  { timeout: 240_000 },
  async (given: Record<string, string>) => {
    await writeFile(
      join(folder, "stateplane.config.ts"),
      `import { writeFileSync } from "node:fs";
      writeFileSync("arenas", process.env.MALLOC_ARENA_MAX ?? "unset");
      export default {};`,
    );
    const dev = startCli(["dev"], { cwd: folder, env: given });
    try {
      await dev.says("Ctrl-C stops.");
      const own = readFileSync(`/proc/${dev.pid}/environ`, "utf8");
      expect(own).toContain(`MALLOC_ARENA_MAX=${given["MALLOC_ARENA_MAX"] ?? "1"}\0`);
      const known = await readFile(join(folder, "arenas"), "utf8");
      expect(known).toBe(given["MALLOC_ARENA_MAX"] ?? "unset");
    } finally {
      dev.kill("SIGTERM");
      await dev.ended;
    }
  },
);
