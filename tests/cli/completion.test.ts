import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findProgram } from "../../cli/needs.ts";
import { groups, specs } from "../../cli/specs.ts";

const run = promisify(execFile);
const bin = join(import.meta.dirname, "../../cli/bin.ts");
/** The package of that name, which most systems have: the script builds on it. */
const bashCompletion = "/usr/share/bash-completion/bash_completion";
const has = (shell: string) => findProgram([shell], process.env["PATH"]) !== null;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-completion-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The candidates for the last word. */
async function candidates(...words: string[]): Promise<string[]> {
  const { stdout } = await run(process.execPath, [bin, "complete", "--", ...words]);
  const lines = stdout.trimEnd().split("\n");
  return lines.filter((line) => !/^:\d+$/.test(line)).map((line) => line.split("\t")[0] ?? "");
}

describe("completion", () => {
  it("offers every command, and of a group every verb", { timeout: 240_000 }, async () => {
    const firsts = new Set(Object.keys(specs).map((name) => name.split(" ")[0]));
    expect(new Set(await candidates(""))).toEqual(firsts);
    for (const group of Object.keys(groups)) {
      const verbs = Object.keys(specs)
        .filter((name) => name.startsWith(`${group} `))
        .map((name) => name.split(" ")[1]);
      expect(await candidates(group, "")).toEqual(verbs);
    }
  });

  it("offers a command's flags, those of every command, and values that are known", async () => {
    expect(await candidates("submit", "a", "--wa")).toEqual(["--watch"]);
    expect(await candidates("runs", "list", "--js")).toEqual(["--json"]);
    expect(await candidates("dev", "--store", "s")).toEqual(["sqlite"]);
    expect(await candidates("runs", "list", "--status", "waiting")).toContain("waiting_approval");
    expect(await candidates("completion", "")).toEqual(["bash", "zsh", "fish"]);
  });

  it("refuses a shell that it does not know", async () => {
    await expect(run(process.execPath, [bin, "completion", "tcsh"])).rejects.toMatchObject({
      code: 2,
      stderr: 'stateplane: completion: expected bash, zsh or fish, not "tcsh"\n',
    });
  });
});

/** Types into a shell at a terminal, and waits for each text to stand there after what was typed before it. */
const typist = `
import os, pty, sys, time, select, json
shell, script = sys.argv[1], json.loads(sys.argv[2])
pid, fd = pty.fork()
if pid == 0:
    os.execvp(shell.split()[0], shell.split())
seen = ""
for typed, wanted in script:
    os.write(fd, typed.encode())
    before, end = len(seen), time.time() + 100
    while wanted not in seen[before:]:
        if time.time() > end:
            print("never seen:", wanted, "in", repr(seen)); sys.exit(1)
        if select.select([fd], [], [], 0.2)[0]:
            seen += os.read(fd, 65536).decode(errors="replace")
os.kill(pid, 9)
`;

async function typeInto(shell: string, steps: [typed: string, wanted: string][]): Promise<string> {
  const env = { PATH: process.env["PATH"], HOME: folder, TERM: "dumb", PS1: "> " };
  const child = spawn("python3", ["-c", typist, shell, JSON.stringify(steps)], {
    cwd: folder,
    env,
  });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const [code] = await once(child, "close");
  return code === 0 ? "completed" : said;
}

describe("a shell, after it has read its script", () => {
  const command = (shell: string) => `'${process.execPath}' '${bin}' completion ${shell}`;

  it.runIf(existsSync(bashCompletion))(
    "bash completes a command, a verb and a flag",
    { timeout: 240_000 },
    async () => {
      const said = await typeInto("bash --norc -i", [
        [`source ${bashCompletion}; source <(${command("bash")}); echo "rea""dy"\n`, "ready"],
        ["stateplane ru\t", "stateplane runs "],
        ["wat\t", "watch "],
        ["run_1 --js\t", "--json "],
      ]);
      expect(said).toBe("completed");
    },
  );

  it.runIf(has("zsh"))(
    "zsh completes a command, a verb and a flag",
    { timeout: 240_000 },
    async () => {
      const said = await typeInto("zsh -f -i", [
        [
          `autoload -Uz compinit; compinit -D -u; source <(${command("zsh")}); echo "rea""dy"\n`,
          "ready",
        ],
        ["stateplane run\t", "runs "],
        ["wat\t", "watch "],
        ["run_1 --js\t", "--json "],
      ]);
      expect(said).toBe("completed");
    },
  );

  it.runIf(has("fish"))("fish completes a command, a verb and a flag", async () => {
    const ask = async (line: string) => {
      const script = `${command("fish")} | source; complete -C ${JSON.stringify(line)}`;
      const env = { PATH: process.env["PATH"], HOME: folder };
      return (await run("fish", ["--no-config", "-c", script], { env })).stdout;
    };
    expect(await ask("stateplane ru")).toMatch(/^runs\b/m);
    expect(await ask("stateplane runs wat")).toMatch(/^watch\b/m);
    expect(await ask("stateplane submit a --wat")).toMatch(/^--watch\b/m);
  });
});
