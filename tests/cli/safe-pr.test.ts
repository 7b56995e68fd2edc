import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const program = join(import.meta.dirname, "../../examples/safe-pr/main.ts");
const folder = useTemporaryFolder();

const run = (...args: string[]) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const { PATH, NODE_COMPILE_CACHE } = process.env;
    const env = { PATH, NODE_COMPILE_CACHE, HOME: folder, TMPDIR: folder };
    const child = execFile(process.execPath, [program, ...args], { env }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr }),
    );
    child.stdin?.end();
  });

it("[workflow.safe-pr] mends, tests and pushes with every yes, and touches nothing without one", async () => {
  const [yes, no] = await Promise.all([run("--yes"), run()]);
  expect(yes).toMatchObject({ code: 0, stderr: "" });
  // The first change does not mend it: the tests say so, and the second does.
  const steps = yes.stdout.split("\n").filter((line) => /^ {2}(?:completed|failed) /u.test(line));
  expect(steps).toContain("  completed fix_issues[0]/apply_fix");
  expect(steps.filter((line) => line.includes("failed"))).toEqual([]);
  const asked = [...yes.stdout.matchAll(/approved without asking \(--yes\): (\w+) /gu)];
  expect(asked.map(([, name]) => name)).toEqual(["write_file", "write_file", "git_push"]);
  expect(yes.stdout).toContain("the run is completed");
  expect(yes.stdout).toContain("mend-empty-basket: Let an empty basket cost nothing");

  expect(no).toMatchObject({ code: 1, stderr: "" });
  expect(no.stdout).toContain(
    "rejected: there is no terminal to ask at, and no --yes: write_file {",
  );
  expect(no.stdout).not.toContain("mend-empty-basket");
  expect(readdirSync(folder).filter((name) => name.startsWith("stateplane-safe-pr-"))).toEqual([]);
}, 240_000);
