import { spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";

it.runIf(process.platform === "linux")(
  "git inherits no descriptor that whoever started the server left open",
  () => {
    const folder = mkdtempSync(join(tmpdir(), "stateplane-git-"));
    writeFileSync(join(folder, "secret"), "secret");
    const secret = openSync(join(folder, "secret"), "r");
    try {
      // In git's place: it tells where the descriptor leads that it was given.
      writeFileSync(join(folder, "git"), '#!/bin/sh\nexec readlink "/proc/$$/fd/40"\n');
      chmodSync(join(folder, "git"), 0o755);
      const module = new URL("../../tools/git/run-git.ts", import.meta.url).href;
      const program = `
        import { readlinkSync } from "node:fs";
        const { runGit } = await import("${module}");
        const signal = new AbortController().signal;
        const answer = await runGit({ command: ["x"] }, { cwd: "/", env: process.env, signal });
        console.log(JSON.stringify([readlinkSync("/proc/self/fd/40"), answer]));`;
      const between = Array.from({ length: 37 }, () => "ignore" as const);
      const { stdout } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
        // A high one with a gap before it: Node closes the low ones of its own accord.
        stdio: ["ignore", "pipe", "inherit", ...between, secret],
        env: { ...process.env, PATH: `${folder}:${process.env["PATH"] ?? ""}` },
        encoding: "utf8",
      });
      const [ours, answer] = JSON.parse(stdout) as [string, unknown];
      expect(ours).toBe(join(folder, "secret"));
      expect(answer).toMatchObject({ ok: true, value: { stdout: "/dev/null\n" } });
    } finally {
      closeSync(secret);
      rmSync(folder, { recursive: true });
    }
  },
);
