import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { attest } from "../../adapters/sandbox/attest.ts";
import { driversWith } from "../../adapters/sandbox/drivers.ts";
import { findSandbox } from "../../adapters/sandbox/find.ts";
import { seccompFilter } from "../../adapters/sandbox/seccomp.ts";
import { loadConfig } from "../../cli/config/load-config.ts";
import { sandboxOptions } from "../../cli/config/sandbox-settings.ts";
import type { Sandbox, SandboxRequest } from "../../machines/contracts/ports/sandbox.ts";
import { processesNaming, runCli } from "../support/run-cli.ts";
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
      timeoutMs: 20_000,
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
    const mark = `1000.${process.pid}`;
    const [late, flood, file, memory, behind] = await Promise.all([
      run("sleep 60", { timeoutMs: 500 }),
      run("yes | head -c 5000000"),
      run("head -c 100M /dev/zero > big; stat -c %s big"),
      run("held = [bytearray(50 << 20) for _ in range(9)]\nimport time; time.sleep(20)", {
        language: "python",
        memoryBytes: 200 * 2 ** 20,
      }),
      run(`sleep ${mark} & echo started`),
    ]);
    expect(late).toMatchObject({ timedOut: true, exitCode: null });
    expect(flood.leftOutBytes).toBeGreaterThan(4_000_000);
    expect(Number(file.stdout)).toBeLessThanOrEqual(64 * 2 ** 20);
    expect(memory).toMatchObject({ killed: true });
    expect(behind.durationMs).toBeLessThan(10_000);
    expect(behind.stdout).toBe("started\n");
    await expect.poll(() => processesNaming(mark, "sleep")).toEqual([]);
    await expect.poll(() => readdirSync(join(folder, "tmp"))).toEqual([]);
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
