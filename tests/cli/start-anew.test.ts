import { existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { startOfCopy } from "../../cli/start-anew.ts";

it("takes away the environment that a killed start left behind, and none that is still to be taken", () => {
  const place = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  const lay = (ageMs: number) => {
    const folder = mkdtempSync(join(place, "stateplane-start-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(join(folder, "environment.json"), '{"FD_API_KEY":"k"}', { mode: 0o600 });
    const then = new Date(Date.now() - ageMs);
    utimesSync(folder, then, then);
    return folder;
  };
  const [abandoned, underWay] = [lay(3_600_000), lay(1_000)];
  // Somebody else's, by what is in it.
  const other = mkdtempSync(join(place, "stateplane-start-"));
  onTestFinished(() => rmSync(other, { recursive: true, force: true }));
  utimesSync(other, new Date(0), new Date(0));
  const { env, takeBack } = startOfCopy({ FD_API_KEY: "k", PATH: "/bin" });
  expect([abandoned, underWay, other].map((folder) => existsSync(folder))).toEqual([
    false,
    true,
    true,
  ]);
  const file = env["STATEPLANE_START_FILE"] ?? "";
  expect(existsSync(file)).toBe(true);
  takeBack();
  expect(existsSync(dirname(file))).toBe(false);
});
