import {
  chownSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { attest } from "../../adapters/sandbox/attest.ts";
import { driversWith } from "../../adapters/sandbox/drivers.ts";
import { findSandbox } from "../../adapters/sandbox/find.ts";
import { nameOf, removeLeftFolders } from "../../adapters/sandbox/owner.ts";
import { seccompFilter } from "../../adapters/sandbox/seccomp.ts";
import { loadConfig } from "../../cli/config/load-config.ts";
import { sandboxOptions } from "../../cli/config/sandbox-settings.ts";
import type { Sandbox, SandboxRequest } from "../../machines/contracts/ports/sandbox.ts";
import { processesNaming, runCli, sleepTime } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const never = new AbortController().signal;
const folder = useTemporaryFolder();
const settingsOf = async (env: Record<string, string>) =>
  (await loadConfig({ flags: {}, env, folder, file: null })).settings;

describe("[sandbox.without-boundary] none is used where its owner says so twice", () => {
  test("one word alone is refused, naming both, and it goes with no other driver", async () => {
    for (const env of [
      { SANDBOX_DRIVERS: "none" },
      { SANDBOX_DRIVERS: "none", SANDBOX_WITHOUT_BOUNDARY: "off" },
    ]) {
      const refused = await settingsOf(env).catch(String);
      expect(refused).toContain("SANDBOX_WITHOUT_BOUNDARY=on beside SANDBOX_DRIVERS=none");
    }
    for (const SANDBOX_DRIVERS of ["none,unshare", "bubblewrap none", "none none"]) {
      await expect(settingsOf({ SANDBOX_DRIVERS, SANDBOX_WITHOUT_BOUNDARY: "on" })).rejects.toThrow(
        "or none alone",
      );
    }
    const refused = await runCli(["config"], { cwd: folder, env: { SANDBOX_DRIVERS: "none" } });
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("SANDBOX_WITHOUT_BOUNDARY=on beside SANDBOX_DRIVERS=none");
  });

  test("a file does not say it, be it with the name or alone", async () => {
    for (const more of [{ sandboxDrivers: ["none"] }, {}]) {
      const values = { sandboxWithoutBoundary: "on", ...more };
      const given = { path: join(folder, "stateplane.config.json"), values };
      for (const env of [{}, { SANDBOX_DRIVERS: "none" }]) {
        const loaded = loadConfig({ flags: {}, env, folder, file: null, given });
        await expect(loaded).rejects.toThrow("in the environment alone");
      }
    }
  });

  test("the flag alone changes nothing, and the name alone finds nothing", async () => {
    const flag = sandboxOptions(await settingsOf({ SANDBOX_WITHOUT_BOUNDARY: "on" }));
    expect(flag).toMatchObject({ order: null, withoutBoundary: false });
    expect(await findSandbox({ order: ["none"] })).toHaveProperty("missing");
    expect(driversWith("image", false).map(({ name }) => name)).not.toContain("none");
  });
});

describe("[sandbox.without-boundary] what it holds all the same", () => {
  let sandbox: Sandbox;
  const warnings: string[] = [];
  const run = async (code: string, more: Partial<SandboxRequest> = {}) => {
    const request = {
      language: "bash",
      code,
      files: {},
      env: {},
      timeoutMs: 60_000,
      ...more,
    } as const;
    const outcome = await sandbox.run(request, never);
    if (!outcome.ok) throw new Error(outcome.failure.message);
    return outcome.value;
  };

  beforeAll(async () => {
    mkdirSync(join(folder, "tmp"));
    vi.stubEnv("TMPDIR", join(folder, "tmp"));
    vi.stubEnv("OPENAI_API_KEY", "planted");
    const ignore = () => undefined;
    const log = {
      debug: ignore,
      info: ignore,
      error: ignore,
      warn: (_: object, line: string) => void warnings.push(line),
    };
    const env = { SANDBOX_DRIVERS: "none", SANDBOX_WITHOUT_BOUNDARY: "on" };
    const found = await findSandbox({ ...sandboxOptions(await settingsOf(env)), log });
    if ("missing" in found) throw new Error(found.missing);
    sandbox = found.sandbox;
    return () => vi.unstubAllEnvs();
  });

  test("it is said at the start what it means", () => {
    expect(warnings).toEqual([
      expect.stringMatching(/WITHOUT A BOUNDARY.*as this worker's user.*files, its network/u),
    ]);
    expect(sandbox.driver).toBe("none");
  });

  test("an environment, a folder and descriptors of its own", async () => {
    const code = `import os\nprint(sorted(os.environ)); print(os.path.basename(os.getcwd())); print(open("in/data").read())
print(input()); print(os.sys.argv[1:]); print(len([fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}") and "null" not in os.readlink(f"/proc/self/fd/{fd}")]))
open("out", "w").write("kept")`;
    const ran = await run(code, {
      language: "python",
      args: ["a b"],
      stdin: "said\n",
      files: { "in/data": "given" },
      outputs: { paths: ["out"], maxFiles: 1, maxBytes: 100 },
    });
    expect(ran.stderr).toBe("");
    const [env = "", ...rest] = ran.stdout.trim().split("\n");
    expect(env).not.toContain("OPENAI_API_KEY");
    expect(rest).toEqual(["work", "given", "said", "['a b']", "3"]);
    expect(ran.files?.map(({ path, content }) => [path, Buffer.from(content).toString()])).toEqual([
      ["out", "kept"],
    ]);
    await expect.poll(() => readdirSync(join(folder, "tmp"))).toEqual([]);
  });

  test("bounds of time, output, memory and files, and an end of what it started", async () => {
    const mark = sleepTime();
    const [late, flood, file, memory, behind] = await Promise.all([
      run("sleep 60", { timeoutMs: 500 }),
      run("yes | head -c 5000000"),
      run("head -c 100M /dev/zero > big; stat -c %s big"),
      run("held = [bytearray(50 << 20) for _ in range(9)]\nimport time; time.sleep(60)", {
        language: "python",
        memoryBytes: 200 * 2 ** 20,
      }),
      run(`sleep ${mark} & echo started`),
    ]);
    expect(late).toMatchObject({ timedOut: true, exitCode: null });
    expect(flood.leftOutBytes).toBeGreaterThan(4_000_000);
    expect(Number(file.stdout)).toBeLessThanOrEqual(64 * 2 ** 20);
    expect(memory).toMatchObject({ killed: true });
    expect(behind).toMatchObject({ timedOut: false, exitCode: 0, stdout: "started\n" });
    await expect.poll(() => processesNaming(mark, "sleep")).toEqual([]);
    await expect.poll(() => readdirSync(join(folder, "tmp"))).toEqual([]);
  });

  test("folders are removed however deep and whoever may write to them, but nobody else's, and no link is followed", async () => {
    const temporary = join(folder, "tmp");
    const code = `import os
os.symlink(os.environ["KEPT"], "link"); os.makedirs("closed/in"); os.chmod("closed", 0o555); os.mkdir("locked", 0)
for _ in range(500): os.mkdir("x" * 20); os.chdir("x" * 20)`;
    const kept = join(folder, "kept");
    mkdirSync(join(kept, "in"), { recursive: true });
    const ran = await run(code, { language: "python", env: { KEPT: kept } });
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" });
    await expect.poll(() => readdirSync(temporary)).toEqual([]);

    const gone = (mark: string) => join(temporary, nameOf(mark).replace(/-\d+-(\w+)$/u, "-1-$1"));
    mkdirSync(join(gone("run"), "sub"), { recursive: true });
    // Of another process namespace nobody knows, but no run takes a day.
    const ofToday = gone("run").replace(/x\d+-/u, "x1-");
    const ofYesterday = gone("run").replace(/x\d+-/u, "x2-");
    for (const path of [ofToday, ofYesterday]) mkdirSync(path);
    const yesterday = Date.now() / 1_000 - 25 * 3_600;
    utimesSync(ofYesterday, yesterday, yesterday);
    symlinkSync(kept, gone("link"));
    writeFileSync(gone("file"), "");
    const others = [gone("link"), gone("file"), ofToday];
    if (process.getuid?.() === 0) {
      mkdirSync(gone("other"));
      chownSync(gone("other"), 65_534, 65_534);
      others.push(gone("other"));
    }
    await removeLeftFolders();
    const names = others.map((path) => basename(path)).toSorted();
    expect(readdirSync(temporary).toSorted()).toEqual(names);
    expect(readdirSync(kept)).toEqual(["in"]);
    for (const path of others) rmSync(path, { recursive: true });
  });

  test("where there is no room for a folder, the run fails, and the next one is tried anew", async () => {
    vi.resetModules();
    const anew = await import("../../adapters/sandbox/find.ts");
    const found = await anew.findSandbox({ order: ["none"], withoutBoundary: true });
    if ("missing" in found) throw new Error(found.missing);
    const request = {
      language: "bash",
      code: "echo",
      files: {},
      env: {},
      timeoutMs: 20_000,
    } as const;
    vi.stubEnv("TMPDIR", join(folder, "absent"));
    for (const order of [["none"], ["bubblewrap", "unshare"]]) {
      const candidates = driversWith(null, true).filter(({ name }) => order.includes(name));
      const failed = await anew.createProvenSandbox(candidates).run(request, never);
      expect(failed).toMatchObject({
        ok: false,
        failure: { kind: "unavailable", retryable: true },
      });
      const message = failed.ok ? "" : failed.failure.message;
      expect(message).toMatch(/folder of temporary files, \S+absent \(ENOENT.*TMPDIR/u);
      expect(message).not.toContain("install");
    }
    const late = await anew.findSandbox({ order: ["none"], withoutBoundary: true });
    if ("missing" in late) throw new Error(late.missing);
    expect(late.trouble).toContain("ENOENT");
    vi.stubEnv("TMPDIR", join(folder, "tmp"));
    for (const one of [found, late]) {
      expect(await one.sandbox.run(request, never)).toMatchObject({ value: { stdout: "\n" } });
    }
  });

  test("its table says of each probe whether it holds, and nothing else is tried on the host", async () => {
    const bare = driversWith(null, true).find(({ name }) => name === "none");
    if (bare === undefined) throw new Error("asked for");
    const probes = await attest(bare, seccompFilter() ?? Buffer.alloc(0));
    const of = (state: string) =>
      probes.filter((probe) => probe.state === state).map(({ name }) => name);
    expect(of("open")).toEqual([]);
    expect(of("held")).toEqual(
      expect.arrayContaining(["environment: its own", "floods: of output", "time-out: it comes"]),
    );
    expect(of("not held")).toEqual(
      expect.arrayContaining(["network: elsewhere", "host files: one of ours", "calls: keyrings"]),
    );
    expect(of("not held").length).toBeGreaterThan(50);
  });
});
