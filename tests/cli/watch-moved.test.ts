import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { writeDevNote } from "../../cli/dev-note.ts";
import { apiKey, startTestPlane } from "../support/embedded-control-plane.ts";
import { startCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();
const { signal } = new AbortController();

// The key lies with the user: here this process and the program are one.
beforeAll(() => {
  vi.stubEnv("XDG_RUNTIME_DIR", join(folder, "run"));
});
afterAll(() => {
  vi.unstubAllEnvs();
});

it(
  "a watch goes on where `dev` was started again at another address [cli.watch-moved]",
  { timeout: 240_000 },
  async () => {
    const dataDir = join(folder, ".stateplane");
    const start = async () => {
      const plane = await startTestPlane({ path: join(folder, "plane.db") });
      await writeDevNote(dataDir, { url: plane.url, apiKey, store: "sqlite" });
      return plane;
    };
    const first = await start();
    const { runId } = await first.createRun();
    const watch = startCli(["runs", "watch", runId, "--data-dir", dataDir], {
      cwd: folder,
      env: { XDG_RUNTIME_DIR: join(folder, "run") },
    });
    await watch.says("pending");
    await first.close();
    await watch.says("trying again");
    const second = await start();
    expect(second.url).not.toBe(first.url);
    await watch.says(`following the run at ${second.url}`);
    expect((await second.api.cancel(runId, signal)).ok).toBe(true);
    const { code, stdout } = await watch.ended;
    expect([code, stdout]).toEqual([1, expect.stringContaining("cancelled")]);
    await second.close();
  },
);

it(
  "the last line of a watch tells how the run ended, where it had ended before, too [cli.watch-last-line]",
  { timeout: 240_000 },
  async () => {
    const dataDir = join(folder, "ended");
    const plane = await startTestPlane();
    await writeDevNote(dataDir, { url: plane.url, apiKey, store: "sqlite" });
    const { runId } = await plane.createRun();
    expect((await plane.api.cancel(runId, signal)).ok).toBe(true);
    const { stdout } = await startCli(["runs", "watch", runId, "--json", "--data-dir", dataDir], {
      cwd: folder,
      env: { XDG_RUNTIME_DIR: join(folder, "run") },
    }).ended;
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { kind: string });
    expect(lines).toEqual([
      { kind: "step", step: expect.objectContaining({ status: "pending" }) },
      { kind: "run", run: expect.objectContaining({ status: "cancelled" }) },
    ]);
    await plane.close();
  },
);
