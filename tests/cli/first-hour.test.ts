import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { runCli, type RunningCli, startCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { createModels } from "../../adapters/llm/models.ts";
import { createStandIn } from "../../adapters/llm/scripted.ts";

const folder = useTemporaryFolder();
const timeout = 240_000;
let dev: RunningCli | null = null;
afterEach(async () => {
  dev?.kill("SIGTERM");
  await dev?.ended;
  dev = null;
});
const run = (...args: string[]) => runCli(args, { cwd: folder });

describe("the first hour, without any configuration or key", () => {
  it(
    "runs the line that dev prints, as printed, with a scripted model that says so",
    { timeout },
    async () => {
      dev = startCli(["dev", "--store", "sqlite", "--data-dir", "my data"], { cwd: folder });
      const said = await dev.says("Ctrl-C stops.");
      expect(said).toMatch(/models +scripted: no key is set/);
      const line = /In another terminal.*\n {2}(.*)\n/.exec(said)?.[1] ?? "";
      expect(line).toMatch(/ submit assistant --task "Say hello" --watch --data-dir '.*my data'$/);
      const env = { PATH: process.env["PATH"], HOME: folder };
      const { stdout } = await promisify(execFile)("sh", ["-c", line], { cwd: folder, env });
      const lines = stdout.trim().split("\n");
      expect(stdout).toContain("This is a scripted answer");
      expect(lines.at(-1)).toMatch(/^run +run_\w+ +completed/);

      const client = (...args: string[]) => run(...args, "--data-dir", "my data");
      const wrong = await client("submit", "asistant", "--task", "x");
      expect(wrong).toMatchObject({
        code: 2,
        stderr: "stateplane: there is no agent named asistant; did you mean assistant?\n",
      });
      const other = await client(
        "submit",
        "assistant",
        "--input",
        '{"task": "x", "model": "gpt-4.1"}',
      );
      expect(other).toMatchObject({ code: 2, stdout: "" });
      expect(other.stderr).toMatch(/model: the agent uses "scripted\/default"; leave model out/);
      expect(other.stderr).not.toMatch(/\b(?:POST|422)\b/);
      const lost = await client("runs", "show", "run_nowhere");
      expect(lost).toMatchObject({ code: 2 });
      expect(lost.stderr).not.toMatch(/\b(?:GET|404)\b/);

      const listed = await client("runs", "list");
      expect(listed.stdout).toMatch(/assistant +Say hello +\d+[sm]/);
      const [, id = ""] = /(run_\w+)/.exec(listed.stdout) ?? [];
      expect((await client("runs", "get", id)).stdout).toMatch(
        /^agent assistant\ntask {2}Say hello$/m,
      );
      expect((await client("runs", "list", "--status", "waiting")).stderr).toContain(
        "did you mean waiting_approval?",
      );
      expect((await client("runs", "list", "--status", "failed")).stderr).toMatch(
        /^none of the \d+ newest runs is failed\n$/,
      );
    },
  );

  it(
    "says at Ctrl-C of a watch that the run goes on, and how to watch it",
    { timeout },
    async () => {
      dev = startCli(["dev", "--store", "sqlite"], { cwd: folder });
      await dev.says("Ctrl-C stops.");
      expect((await run("runs", "list")).stderr).toMatch(
        /there are no runs yet; start one: .* submit AGENT/,
      );
      const { writeFile } = await import("node:fs/promises");
      const sleeping = {
        type: "sandbox",
        name: "sleep on it",
        input: { code: "sleep 20", language: "bash" },
      };
      await writeFile(`${folder}/steps.json`, JSON.stringify([sleeping]));
      const watch = startCli(["submit", "assistant", "--steps", "steps.json", "--watch"], {
        cwd: folder,
      });
      await watch.says('sandbox "sleep on it"');
      watch.kill("SIGINT");
      const { code, stderr, stdout } = await watch.ended;
      expect(code).toBe(130);
      const [, id = ""] = /^run +(run_\w+)/.exec(stdout) ?? [];
      expect(stderr).toMatch(new RegExp(`the run goes on; watch it again: .* runs watch ${id}\n$`));
      await run("runs", "cancel", id);
    },
  );

  it(
    "shows each tool call of an agent to who watches it, with its verdict",
    { timeout },
    async () => {
      const { writeFile } = await import("node:fs/promises");
      const call = (dollars: number) => ({
        reply: { toolCalls: [{ name: "refund", arguments: { dollars } }] },
      });
      const script = [call(900), call(20), { reply: { content: "Done." } }];
      await writeFile(`${folder}/script.json`, JSON.stringify(script));
      await writeFile(
        `${folder}/stateplane.config.ts`,
        `export default {
  tools: [{ name: "refund", description: "Refunds.", input: { type: "object" }, run: () => "refunded" }],
  allowlist: { allowed: ["refund"] },
  policy: ({ kind, input }: { kind: string; input: { dollars?: number } }) =>
    kind === "tool" && Number(input.dollars) > 500
      ? { kind: "deny", reason: "at most 500 dollars" }
      : { kind: "allow", reason: "a small sum" },
  agents: { assistant: { model: "scripted/default", allowedTools: ["refund"] } },
  modelScript: "script.json",
};
`,
      );
      dev = startCli(["dev", "--store", "sqlite"], { cwd: folder });
      await dev.says("Ctrl-C stops.");
      const watched = await run("submit", "assistant", "--task", "refund", "--watch");
      expect(watched.stdout).toMatch(/^call {2}refund {2}deny, failed {2}.*at most 500 dollars/mu);
      expect(watched.stdout).toMatch(/^call {2}refund {2}allow {2}\S/mu);
      expect(watched.code).toBe(0);
      // And so do dev's own lines.
      await dev.says("call  refund  deny, failed");
    },
  );

  it("has the stand-in answer for scripted models alone", async () => {
    const models = createModels({ providers: [], standIn: createStandIn() });
    const request = { messages: [{ role: "user", content: "hello" }], idempotencyKey: "k" };
    const ask = (model: string) =>
      models.complete({ ...request, model } as never, AbortSignal.timeout(60_000));
    expect(await ask("scripted/default")).toMatchObject({ ok: true, value: { scripted: true } });
    expect(await ask("claude-sonnet-4-5")).toMatchObject({ ok: false });
  });
});
