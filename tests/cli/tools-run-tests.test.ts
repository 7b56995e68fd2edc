import { spawnSync } from "node:child_process";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { runCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const bin = fileURLToPath(new URL("../../cli/bin.ts", import.meta.url));
const modules = fileURLToPath(new URL("../../node_modules", import.meta.url));
const hasPytest = spawnSync("python3", ["-m", "pytest", "--version"], { cwd: "/" }).status === 0;
const timeout = 240_000;

const folder = useTemporaryFolder();
beforeAll(async () => {
  const files = {
    "root/py/test_prices.py":
      'def total(prices):\n    return max(prices)\n\ndef test_total():\n    assert total([1, 2]) == 3, "a price is missing"\n\ndef test_none():\n    assert total([0]) == 0\n',
    "root/js/package.json": JSON.stringify({ type: "module", devDependencies: { vitest: "*" } }),
    "root/js/prices.test.js":
      'import { expect, test } from "vitest";\n\nconst total = (prices) => Math.max(...prices);\n\ntest("adds all prices", () => {\n  expect(total([1, 2]), "a price is missing").toBe(3);\n});\n\ntest("of nothing", () => {\n  expect(total([0])).toBe(0);\n});\n',
    "mcp.json": JSON.stringify({
      mcpServers: {
        tests: {
          command: process.execPath,
          args: [bin, "mcp", "test-runner", "--root", "root", "--show", modules],
          cwd: folder,
        },
      },
      allowlist: { allowed_tools: ["tests/run_tests"] },
    }),
  };
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(folder, name, ".."), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  const own = join(folder, "root", "js", "node_modules");
  await mkdir(join(own, ".bin"), { recursive: true });
  await symlink(join(modules, "vitest"), join(own, "vitest"));
  await symlink(join(modules, ".bin", "vitest"), join(own, ".bin", "vitest"));
});

const call = (input: object, ...more: string[]) =>
  runCli(["tools", "call", "run_tests", "--input", JSON.stringify(input), ...more], {
    cwd: folder,
    env: { MCP_CONFIG_PATH: "mcp.json", STATEPLANE_STORE: "sqlite" },
  });

/** Without pytest, which .ci/run installs, its test is skipped. */
const projects = [
  { runner: "pytest", repo: "py", name: "test_total", file: "test_prices.py", line: 5 },
  { runner: "vitest", repo: "js", name: "adds all prices", file: "prices.test.js", line: 6 },
].filter(({ runner }) => runner !== "pytest" || hasPytest);

test.each(projects)(
  "stateplane tools call runs $runner and prints the failing test's name, message and line [tests.report]",
  { timeout },
  async ({ runner, repo, name, file, line }) => {
    const { code, stdout, stderr } = await call({ repo });
    // The call did what was asked; that a test fails is its answer.
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({
      runner,
      ok: false,
      passed: 1,
      failed: 1,
      total: 2,
      failures: [{ name, file, line, message: expect.stringContaining("a price is missing") }],
    });
  },
);

test("a tool's refusal is one line on stderr, and the call has failed", { timeout }, async () => {
  const { code, stdout, stderr } = await call({ repo: "../elsewhere" });
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain("must be inside the root");
});
