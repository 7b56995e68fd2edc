import { describe, expect, test, vi } from "vitest";
import { sandboxHandler } from "../../actors/handlers/sandbox.ts";
import type { StepScope } from "../../actors/handlers/handler.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import { findSandbox } from "../../adapters/sandbox/find.ts";
import { loadConfig } from "../../cli/config/load-config.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import { screening } from "../support/screening.ts";
import { runSandboxed as run, startSandbox } from "../support/run-sandboxed.ts";

const never = new AbortController().signal;

// What a user without cgroups has: tests/adapters/sandbox-cgroup.test.ts has the others.
vi.mock("../../adapters/sandbox/cgroup.ts", () => ({ findCgroups: () => ({ missing: "none" }) }));

test("the drivers that are named are used, in that order, and no other [sandbox.narrowed]", async () => {
  const driverOf = async (order: string[]) => {
    const found = await findSandbox({ order });
    return "sandbox" in found ? found.sandbox.driver : "none";
  };
  expect(await driverOf(["unshare", "bubblewrap"])).toBe("unshare");
  expect(await driverOf(["bubblewrap"])).toBe("bubblewrap");
  expect(await driverOf([])).toBe("none");
  const load = (named: string) =>
    loadConfig({ flags: {}, env: { SANDBOX_DRIVERS: named }, folder: "/", file: null });
  expect((await load("unshare, bubblewrap")).settings.sandboxDrivers).toEqual([
    "unshare",
    "bubblewrap",
  ]);
  await expect(load("docker")).rejects.toThrow(
    "a list of sandbox drivers: bubblewrap, unshare, container; or none alone",
  );
});

describe.each(["bubblewrap", "unshare"])("a sandbox built by %s", (driver) => {
  test("[sandbox.narrowed] gives a job less memory where it asks for less, and never more", async () => {
    const code = (seconds: number) =>
      `held = bytearray(200 << 20)\nimport time; time.sleep(${seconds})\nprint('held')`;
    // Two processes, each within what one may have.
    const two = "import os; os.fork(); held = bytearray(700 << 20)\nimport time; time.sleep(20)";
    const [less, usual, more] = await Promise.all([
      // What it holds is looked at ten times a second: long before it would say so.
      run(driver, "python", code(20), { memoryBytes: 100 * 2 ** 20 }),
      run(driver, "python", code(0.5), { memoryBytes: 8 * 2 ** 30 }),
      run(driver, "python", two, { memoryBytes: 8 * 2 ** 30 }),
    ]);
    expect(less).toMatchObject({ killed: true, stdout: "" });
    expect(less.stderr).toContain("more than 100 MiB");
    expect(usual).toMatchObject({ exitCode: 0, stdout: "held\n" });
    expect(more.stderr).toContain("more than 1024 MiB");
  });

  test("[sandbox.memory] ends a run that lets the kernel hold memory which no process maps", async () => {
    const wants = {
      sockets: `
import os, socket
def fill():
    pairs = []
    try:
        while True:
            pair = socket.socketpair(); pairs.append(pair); pair[0].setblocking(False)
            try:
                while True: pair[0].send(b"x" * 65536)
            except BlockingIOError: pass
    except OSError: import time; time.sleep(60)
for _ in range(40):
    if os.fork() == 0: fill()
fill()`,
      "page tables": `
import mmap, time
held = []
for _ in range(64):
    m = mmap.mmap(-1, 8 << 30, flags=mmap.MAP_PRIVATE | 0x4000, prot=mmap.PROT_READ)
    held.append(m)
    for at in range(0, 8 << 30, 2 << 20): m[at]
print("mapped"); time.sleep(60)`,
      "empty files": `
import os, time
problems = []
for folder in ("/tmp", "/dev/shm", "/sandbox"):
    try:
        for n in range(200_000): os.close(os.open(f"{folder}/{n}", os.O_CREAT | os.O_WRONLY))
    except OSError as problem: print(problem); problems.append(problem)
if "No space" not in str(problems): time.sleep(60)`,
    };
    for (const [what, code] of Object.entries(wants)) {
      const result = await run(driver, "python", code, { timeoutMs: 60_000 });
      const isRefused = /No space left/u.test(result.stdout) && driver === "unshare";
      expect(
        isRefused || result.stderr.includes("MiB of memory"),
        `${what}: ${result.stdout}`,
      ).toBe(true);
    }
  });

  test("[sandbox.calls] has its filter, no keyring of ours and no descriptor but three", async () => {
    const code = `
import os, socket, ctypes
libc = ctypes.CDLL(None, use_errno=True)
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("Seccomp:")])
print(repr(open("/proc/keys").read()))
print([libc.syscall(number, -3, 0, 0, 0, 0) for number in ${process.arch === "x64" ? "(250, 319, 321, 101)" : "(219, 279, 280, 117)"}])
def refused(family):
    try: socket.socket(family, socket.SOCK_DGRAM); return False
    except OSError: return True
print([family for family in range(50) if not refused(family)])
here = [fd for fd in os.listdir("/proc/self/fd") if int(fd) > 2]
print([os.readlink(f"/proc/self/fd/{fd}") for fd in here if os.path.exists(f"/proc/self/fd/{fd}") and os.readlink(f"/proc/self/fd/{fd}") != "/dev/null"])`;
    expect((await run(driver, "python", code)).stdout.split("\n")).toEqual([
      "['2']",
      "''",
      "[-1, -1, -1, -1]",
      "[1, 2, 10]",
      "[]",
      "",
    ]);
  });

  test("[sandbox.output] keeps head and tail of a flood of output, and counts what it left out", async () => {
    const code = "echo first; yes ä | head -c 5000000; echo; echo last; yes b | head -c 100 >&2";
    const result = await run(driver, "bash", code);
    expect(result).toMatchObject({ exitCode: 0, truncated: true, killed: false });
    const [head = "", left = "", tail = ""] = result.stdout.split(/\n\[(\d+) bytes left out\]\n/u);
    expect(head).toMatch(/^first\n(?:ä\n)+ä?$/u);
    expect(tail).toMatch(/^\n?(?:ä\n)+ä?\n+last\n$/u);
    expect(Number(left)).toBe(result.leftOutBytes);
    const kept = Buffer.byteLength(head) + Buffer.byteLength(tail);
    // A character that a limit cut in half is kept nowhere.
    expect(Math.abs(6 + 5_000_000 + 6 - kept - Number(left))).toBeLessThanOrEqual(4);
    expect(kept).toBeLessThanOrEqual(64 * 1024);
    expect(result.stdout).not.toContain("\uFFFD");
    expect(result.stderr).toHaveLength(100);
  });

  test("[sandbox.output] gives arguments and standard input to each language, TypeScript among them", async () => {
    const given = { args: ["a b", "$HOME", "'", "-n"], stdin: "line\0one\ntwo" };
    const javascript = `
console.log(JSON.stringify([process.argv.slice(2), require("fs").readFileSync(0, "utf8")]));
console.log(require("fs").readdirSync("/tmp"))`;
    const typescript = `
import { readFileSync } from "node:fs";
const words: readonly string[] = process.argv.slice(2);
console.log(JSON.stringify([words, readFileSync(0, "utf8")]));`;
    const python = `import json, sys; print(json.dumps([sys.argv[1:], sys.stdin.read()]))`;
    const expected = [given.args, given.stdin];
    const runs = {
      javascript: await run(driver, "javascript", javascript, given),
      typescript: await run(driver, "typescript", typescript, given),
      python: await run(driver, "python", python, given),
    };
    for (const result of Object.values(runs)) {
      expect(JSON.parse(result.stdout.split("\n")[0] ?? ""), result.stderr).toEqual(expected);
    }
    expect(runs.javascript.stdout.split("\n")[1]).toBe("[]");
    const bash = await run(driver, "bash", 'printf "%s|" "$@"; wc -c', given);
    expect(bash.stdout.trim()).toBe("a b|$HOME|'|-n|12");
  });

  test("[sandbox.output] tells a kill from an exit", async () => {
    expect(await run(driver, "bash", "kill -KILL $$")).toMatchObject({ killed: true });
    expect(await run(driver, "bash", "exit 9")).toMatchObject({ killed: false, exitCode: 9 });
  });
});

test("[sandbox.output] a step fails at a non-zero exit unless its job says otherwise, and at a kill always", async () => {
  const sandbox = await startSandbox("bubblewrap");
  const step = async (input: Record<string, Json>) => {
    const effect: StepScope["effect"] = async ({ run: act }) => {
      const outcome = await act(never, "key");
      if (!outcome.ok) return { ok: false, result: { kind: "failed", failure: outcome.failure } };
      return { ok: true, value: outcome.value };
    };
    const scope = {
      job: { input: { language: "bash", ...input } },
      effect,
      screening,
    } as unknown as StepScope;
    return sandboxHandler({ sandbox, artifacts: {} as ArtifactStore })(scope);
  };
  expect(await step({ code: "echo out; exit 3" })).toMatchObject({
    kind: "failed",
    failure: {
      kind: "sandbox_failed",
      details: { status: "error", exit_code: 3, stdout: "out\n" },
    },
  });
  expect(await step({ code: "exit 3", fail_on_nonzero: false })).toMatchObject({
    kind: "done",
    output: { status: "error", exit_code: 3 },
  });
  expect(await step({ code: "kill -KILL $$", fail_on_nonzero: false })).toMatchObject({
    kind: "failed",
    failure: { details: { status: "killed" } },
  });
  const late = { code: "sleep 60", timeout_seconds: 0.5, fail_on_nonzero: false };
  expect(await step(late)).toMatchObject({ failure: { details: { status: "timeout" } } });
});
