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
      tools: [tool("add", ({ a, b }) => a + b), tool("wipe", () => "wiped")],
      allowlist: { allowed: ["functions/add"] },
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
});
