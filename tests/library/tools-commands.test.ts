import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();
const library = join(import.meta.dirname, "../../cli/library.ts");

beforeAll(() => {
  const config = `
    import { defineConfig, defineTool } from ${JSON.stringify(library)};
    const tool = (name, run) => defineTool({ name, description: "The tool " + name + ".", input: { type: "object" }, run });
    export default defineConfig({
      tools: [
        tool("add", ({ a, b }) => a + b),
        tool("wipe", () => "wiped"),
        tool("refund", (input, { idempotencyKey }) => idempotencyKey),
      ],
      allowlist: { allowed: ["functions/add", "functions/refund"] },
      policy: ({ name, input }) =>
        name !== "refund" || input.dollars < 50
          ? { kind: "allow", reason: "little" }
          : { kind: input.dollars > 500 ? "deny" : "ask", reason: "that is much" },
    });`;
  writeFileSync(join(folder, "stateplane.config.ts"), config);
});

const run = (...args: string[]) => runCli(["tools", ...args], { cwd: folder });

describe("the commands about tools", () => {
  it("show a configuration's functions as they show a server's tools [library.functions]", async () => {
    const { stdout } = await run("list", "--json");
    expect(JSON.parse(stdout)).toMatchObject({
      servers: [
        {
          name: "functions",
          problem: null,
          tools: [
            { name: "add", address: "add", standing: "allowed", safe_to_repeat: false },
            { name: "wipe", standing: "denied" },
            { name: "refund", standing: "allowed" },
          ],
        },
      ],
    });
    expect((await run("show", "functions/wipe")).stdout).toContain("The tool wipe.");
  });

  it("call one where the lists allow it [library.functions]", async () => {
    expect(await run("call", "add", "--input", '{"a": 2, "b": 3}')).toMatchObject({
      code: 0,
      stdout: "5\n",
    });
    const denied = await run("call", "wipe");
    expect(denied).toMatchObject({ code: 2, stdout: "" });
    expect(denied.stderr).toContain("functions/wipe");
  });

  it("asks the configuration's policy too, and gives each call a key of its own [library.functions]", async () => {
    const refund = (dollars: number, ...flags: string[]) =>
      run("call", "refund", "--input", JSON.stringify({ dollars }), ...flags);
    expect(await refund(900)).toMatchObject({ code: 2, stdout: "" });
    expect((await refund(900, "--yes")).stderr).toContain("that is much");
    const asked = await refund(90);
    expect(asked).toMatchObject({ code: 2, stdout: "" });
    expect(asked.stderr).toContain("needs approval");
    const [one, other] = await Promise.all([refund(90, "--yes"), refund(9)]);
    expect(one.stdout).toMatch(/^[\w-]{36}\n$/u);
    expect(other.stdout).toMatch(/^[\w-]{36}\n$/u);
    expect(one.stdout).not.toBe(other.stdout);
  });
});
