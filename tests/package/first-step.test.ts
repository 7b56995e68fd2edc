import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { npmEnv, packTarball, quietly } from "../support/installed-package.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

/*
 * docs/first-step.md, typed in as it stands: each `$` line of its console blocks is run in an empty folder, and what it
 * prints must be what the page shows, but for ids, ports, paths and times.
 */

const root = join(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/first-step.md"), "utf8");
const folder = useTemporaryFolder();
const project = join(folder, "my-agent");

interface Typed {
  command: string;
  shown: string;
}
const typed: Typed[] = [...page.matchAll(/```console\n\$ (.*)\n([\s\S]*?)```/gu)].map(
  ([, command = "", shown = ""]) => ({ command, shown }),
);

/** Without what differs from one time to the next. */
const timeless = (text: string) =>
  text
    .replaceAll(project, "/home/me/my-agent")
    .replaceAll(/\b(run|stp|apr)_\w+/gu, "$1_ID")
    .replaceAll(/127\.0\.0\.1:\d+/gu, "127.0.0.1:PORT")
    .replaceAll(/\*{3}\w{4}/gu, "***KEY")
    .replaceAll(/\b[0-9a-f]{64}\b/gu, "DIGEST")
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/gu, "TIME")
    .replaceAll(/^((?:store|sandbox) +).*$/gmu, "$1…")
    .replaceAll(/ +/gu, " ")
    .trim();

/** A reader is slower than the worker; a test is not. */
const isTooEarly = (command: string, said: string) =>
  said.startsWith("nothing waits") || (command.includes("runs get") && !said.includes("completed"));

const children: ChildProcess[] = [];
afterAll(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.pid === undefined) continue;
    process.kill(-child.pid, "SIGINT");
    await once(child, "exit");
  }
});

function type(command: string) {
  const { ANTHROPIC_API_KEY: _a, OPENAI_API_KEY: _o, REDIS_URL: _r, ...env } = npmEnv;
  const child = spawn("sh", ["-c", command], { cwd: project, env, detached: true });
  children.push(child);
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const ended = once(child, "close").then(() => said);
  return { said: () => said, ended };
}

it(
  "takes a newcomer to an approved call of a tool of their own [package.first-step]",
  { timeout: 300_000 },
  async () => {
    const tarball = await packTarball(folder);
    mkdirSync(project);
    const ids = new Map<string, string>();
    const transcript: string[] = [];
    for (const { command, shown } of typed) {
      const filled = command
        .replace("npm install stateplane", `npm install ${quietly.join(" ")} ${tarball}`)
        .replaceAll(/\b(run|apr)_\w+/gu, (id, kind: string) => ids.get(kind) ?? id);
      let said = "";
      if (command.includes(" dev ")) {
        const dev = type(filled);
        while (!dev.said().includes("Ctrl-C stops.")) await sleep(50);
        said = dev.said().replace(/(?<=Ctrl-C stops\.)[^]*/u, "");
      } else {
        do said = await type(filled).ended;
        while (isTooEarly(command, said));
      }
      for (const [id, kind = ""] of said.matchAll(/\b(run|apr)_\w+/gu)) ids.set(kind, id);
      transcript.push(`$ ${command}\n${said}`);
      // What npm and Node's test runner print is theirs.
      if (shown.trim() === "") continue;
      expect.soft(timeless(said), command).toBe(timeless(shown));
    }
    process.stdout.write(`${transcript.join("\n")}\n`);
    expect(typed.length).toBeGreaterThan(6);
  },
);
