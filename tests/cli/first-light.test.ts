import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify, stripVTControlCharacters } from "node:util";
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startTestRedis } from "../support/redis.ts";

const root = join(import.meta.dirname, "../..");
const program = join(root, "examples/first-light/main.ts");
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-start-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const environment = (over: Record<string, string> = {}) => ({
  PATH: process.env["PATH"],
  TMPDIR: folder,
  NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
  ...over,
});

/** Every process whose command line or working directory is inside the example's folder. */
async function left(): Promise<string[]> {
  const { stdout } = await promisify(execFile)("ps", ["-eo", "pid=,args="]);
  return stdout.split("\n").filter((line) => `${line} ${folderOf(line)}`.includes(folder));
}

/** Where a process works, by its line; empty where that can't be seen. */
function folderOf(line: string): string {
  try {
    return readlinkSync(`/proc/${Number.parseInt(line, 10)}/cwd`);
  } catch {
    return "";
  }
}

const tooLong = (shown: string) =>
  stripVTControlCharacters(shown)
    .split(/[\r\n]+/u)
    .filter((line) => line.length > 80);

const typist = `
import fcntl, os, pty, struct, sys, termios
rows, columns, key, *argv = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))
    os.execv(argv[0], argv)
seen = b""
try:
    while True:
        before = b"May the agent" in seen
        seen += os.read(fd, 65536)
        if b"May the agent" in seen and not before: os.write(fd, key.encode())
except OSError: pass
print(seen.decode(errors="replace"))
print("code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

/** What it shows in a terminal of this size, where its question is answered by one key. */
async function inTerminal(of: { rows: number; columns: number; key: string }): Promise<string> {
  const terminal = [String(of.rows), String(of.columns), of.key];
  const args = ["-c", typist, ...terminal, process.execPath, program, "--store", "sqlite"];
  const env = environment({ TERM: "xterm" });
  const { stdout } = await promisify(execFile)("python3", args, { env, cwd: root });
  return stdout;
}

describe("npm start", () => {
  it("on a Redis of the user's leaves nothing pending there", async () => {
    const redis = await startTestRedis();
    const client = new Redis(redis.url);
    try {
      const env = environment({ REDIS_URL: redis.url });
      await promisify(execFile)(process.execPath, [program, "--yes"], { env, cwd: root });
      const [pending] = (await client.xpending("fd:queue:stream:steps", "steps-workers")) as [
        number,
      ];
      expect(pending).toBe(0);
      expect(await client.xlen("fd:queue:stream:steps")).toBe(0);
    } finally {
      client.disconnect();
      await redis.stop();
    }
    await expect.poll(left).toEqual([]);
  });

  it.each([150, 600, 1_200, 2_000])(
    "interrupted after %i ms leaves no process behind",
    async (ms) => {
      const child = spawn(process.execPath, [program, "--yes"], {
        env: environment(),
        cwd: root,
        stdio: "ignore",
      });
      await Promise.race([sleep(ms), once(child, "exit")]);
      child.kill("SIGINT");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      // What was killed with it is gone a moment later.
      await expect.poll(left).toEqual([]);
    },
  );

  it("where nobody can be asked rejects the commit, says so, ends well and leaves no folder", async () => {
    const env = environment();
    const running = promisify(execFile)(process.execPath, [program, "--store", "sqlite"], {
      env,
      cwd: root,
    });
    running.child.stdin?.end();
    const { stdout } = await running;
    expect(stdout.replaceAll(/\s+/gu, " ")).toContain(
      'rejected: there is no terminal to ask at, and no --yes: git_commit {"repo":"demo","message":"Write down what is guaranteed"} commit it',
    );
    expect(tooLong(stdout)).toEqual([]);
    expect(stdout).toMatch(/^commit it \(asks\) .* ask, refused .* rejected$/m);
    expect(stdout).toMatch(/the commit rejected, because\s+nobody could be asked/u);
    expect(await readdir(folder)).toEqual([]);
  });

  it("kept, prints commands that find it from another terminal, and is forgotten at its end [cli.first-light-kept]", async () => {
    const env = environment({ HOME: folder });
    const kept = spawn(process.execPath, [program, "--yes", "--keep", "--store", "sqlite"], {
      env,
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    kept.stdout.setEncoding("utf8").on("data", (chunk: string) => (said += chunk));
    await expect.poll(() => said, { timeout: 60_000 }).toContain("Ctrl-C ends it.");
    const commands = [...said.matchAll(/^ {2}npm run -s stateplane -- (.* --config .*)$/gmu)];
    expect(commands.map(([, words]) => /^[a-z]+(?: [a-z]+)?/u.exec(words ?? "")?.[0])).toEqual([
      "runs trace",
      "steps show",
      "steps replay",
      "top",
    ]);
    const bin = ["-r", "./cli/checkout.cjs", "cli/bin.ts"];
    const ask = (words: string) =>
      promisify(execFile)(process.execPath, [...bin, ...words.split(" ")], { env, cwd: root });
    const [trace, show, replay, top] = await Promise.all(
      commands.map(async ([, words = ""]) => (await ask(words)).stdout),
    );
    expect(trace).toContain("commit it (asks)");
    expect(show).toMatch(/^phase +reported/mu);
    expect(replay).toContain("the step completed, as recorded");
    expect(top).toMatch(/^newest 100 runs +1 completed$/mu);
    kept.kill("SIGINT");
    if (kept.exitCode === null) await once(kept, "exit");
    const after = await ask(commands[0]?.[1] ?? "").catch((error: { stderr: string }) => error);
    expect(after.stderr).toContain("there is no control plane");
  });

  it("at Ctrl-C at its question says that nothing was approved, and leaves no folder [cli.first-light]", async () => {
    const shown = await inTerminal({ rows: 50, columns: 80, key: "\u0003" });
    expect(shown).toContain("nothing was approved");
    expect(shown).toContain("code 130");
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([
    { rows: 50, columns: 80 },
    // As some containers' terminals give their size.
    { rows: 0, columns: 0 },
  ])(
    "in a terminal of $columns columns shows its question whole, on lines of at most 80 columns [cli.first-light]",
    async (size) => {
      const shown = await inTerminal({ ...size, key: "y" });
      expect(shown).toMatch(/May the agent do this\? git_commit \{"repo":"demo"[^]*Yes/u);
      const printed = stripVTControlCharacters(shown);
      // Nothing is drawn over the open question, nor before the run's own line.
      expect(printed.indexOf("(parked:")).toBeGreaterThan(-1);
      expect(printed.indexOf("(parked:")).toBeLessThan(printed.indexOf("May the agent"));
      expect(printed.indexOf(" pending")).toBeGreaterThan(printed.search(/^run run_/mu));
      expect(shown).toContain("code 0");
      expect(tooLong(shown)).toEqual([]);
      expect(await readdir(folder)).toEqual([]);
    },
  );

  it("refuses what it does not know with one line and exit code 2", async () => {
    const run = promisify(execFile)(process.execPath, [program, "--store", "clay"], {
      env: environment(),
      cwd: root,
    });
    await expect(run).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^first-light: .*flag --store.*\n$/),
    });
  });

  it.each(["first-light", "safe-pr"])(
    "%s names the option that was probably meant",
    async (name) => {
      const of = join(root, "examples", name, "main.ts");
      for (const [option, hint] of [
        ["--yess", "did you mean --yes?"],
        ["--nothing", "expected --yes, --keep"],
      ] as const) {
        const run = promisify(execFile)(process.execPath, [of, option], {
          env: environment(),
          cwd: root,
        });
        await expect(run).rejects.toMatchObject({
          code: 2,
          stderr: expect.stringContaining(`${name}: there is no option ${option}; ${hint}`),
        });
      }
    },
  );

  it("says which service it can't reach, and exits with 3", async () => {
    const env = environment({ REDIS_URL: "redis://127.0.0.1:1" });
    const run = promisify(execFile)(process.execPath, [program, "--yes"], { env, cwd: root });
    await expect(run).rejects.toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^first-light: .*127\.0\.0\.1:1.*ECONNREFUSED.*\n$/),
    });
  });
});
