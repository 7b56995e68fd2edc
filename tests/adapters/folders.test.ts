import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
import { openDatabase as openPlane } from "../../adapters/control-plane/embedded/layout.ts";
import { makePrivateFolder, replacePrivateFile } from "../../adapters/redis/private-files.ts";
import { openDatabase as openSteps } from "../../adapters/sqlite/database.ts";

const at = (path: string) => new URL(`../../${path}`, import.meta.url).href;
let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "stateplane-folders-"));
});
afterAll(() => rm(root, { recursive: true }));

describe.runIf(process.platform === "linux")("a folder that can't be made", () => {
  // In processes of their own: whoever asks Node to make these folders recursively never hears from it again.
  test.each([
    ["the data folder", "cli/data-folder.ts", 'makeDataDir("/proc/nope/data")'],
    ["the note of dev", "cli/dev-note.ts", 'writeDevNote("/proc/nope/data", {})'],
    [
      "the private Redis",
      "adapters/redis/private-server.ts",
      'startPrivateRedis({ directory: "/proc/nope/redis" })',
    ],
    [
      "the embedded control plane",
      "adapters/control-plane/embedded/store.ts",
      'openStore("/proc/nope/folder/file.sqlite")',
    ],
  ])("is an error soon for %s [folders.end]", (_, file, call) => {
    const program = `
      const module = await import(${JSON.stringify(at(file))});
      try { await module.${call}; } catch (error) { console.log(error.code); }`;
    const args = ["--input-type=module", "--eval", program];
    const run = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
    expect(run).toMatchObject({ signal: null, status: 0, stdout: "ENOENT\n" });
  });
});

describe("a private folder", () => {
  test("is made with those above it, for this user alone, once", async () => {
    const path = join(root, "a", "b", "c");
    const made = await Promise.all([makePrivateFolder(path), makePrivateFolder(path)]);
    expect(made.filter(Boolean)).toHaveLength(1);
    for (const folder of [path, join(root, "a", "b"), join(root, "a")]) {
      expect((await stat(folder)).mode & 0o777).toBe(0o700);
    }
    expect(await makePrivateFolder(path)).toBe(false);
    await writeFile(join(root, "file"), "");
    await expect(makePrivateFolder(join(root, "file"))).rejects.toMatchObject({ code: "EEXIST" });
    const below = makePrivateFolder(join(root, "file", "x"));
    await expect(below).rejects.toMatchObject({ code: "ENOTDIR" });
  });

  test("is what each store of ours makes for itself, and what it keeps there is private, too", async () => {
    const modes = async (...paths: string[]) =>
      Promise.all(paths.map(async (path) => ((await stat(path)).mode & 0o777).toString(8)));
    const of = (name: string) => join(root, name, "within");
    const artifacts = createArtifactFolder({ path: of("artifacts"), isShared: true });
    expect(await artifacts.check()).toMatchObject({ ok: true });
    const steps = await openSteps(join(of("steps"), "steps.sqlite"));
    const plane = openPlane(join(of("plane"), "plane.sqlite"));
    steps.sql.close();
    plane.close();
    for (const name of ["artifacts", "steps", "plane"]) {
      expect(await modes(join(root, name), of(name)), name).toEqual(["700", "700"]);
    }
    expect(
      await modes(join(of("steps"), "steps.sqlite"), join(of("plane"), "plane.sqlite")),
    ).toEqual(["600", "600"]);
  });

  test("has its files replaced whole, for this user alone, and nothing left beside them", async () => {
    const folder = join(root, "files");
    await makePrivateFolder(folder);
    const file = join(folder, "note.json");
    await writeFile(file, "old and open to all", { mode: 0o644 });
    await Promise.all([replacePrivateFile(file, "one"), replacePrivateFile(file, "two")]);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(file)).size).toBe(3);
    expect(await readdir(folder)).toEqual(["note.json"]);
  });
});
