import { execFileSync, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { findSandbox } from "../../adapters/sandbox/find.ts";
import { processesBelow } from "../../adapters/sandbox/memory.ts";
import { listen } from "../support/listen.ts";
import { sleepTime } from "../support/run-cli.ts";
import { runSandboxed as run, startSandbox as start } from "../support/run-sandboxed.ts";

const never = new AbortController().signal;

/** Pids whose command line holds the mark. */
function processesNamed(mark: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/u.test(name) && name !== String(process.pid))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(mark);
      } catch {
        return false;
      }
    });
}

const isGone = (mark: string) => expect.poll(() => processesNamed(mark)).toEqual([]);

describe.each(["bubblewrap", "unshare"])("a sandbox built by %s", (driver) => {
  afterEach(() => {
    delete process.env["PLANTED_SECRET"];
  });

  test("runs python, bash and node, and gives back what they print", async () => {
    const python = await run(driver, "python", "import helper; print(helper.word)", {
      files: { "helper.py": "word = 'from a file'" },
    });
    const bash = await run(driver, "bash", 'cat deep/down/it; echo "$GREETING"; echo oops >&2', {
      files: { "deep/down/it": "it's\0a \\n file\n" },
      env: { GREETING: "hel'lo $HOME" },
    });
    const node = await run(driver, "node", "console.log(require('path').basename('/a/b'), 1 + 1)");

    expect(python).toMatchObject({ exitCode: 0, stdout: "from a file\n", timedOut: false });
    expect(bash).toMatchObject({ stdout: "it's\0a \\n file\nhel'lo $HOME\n", stderr: "oops\n" });
    expect(node).toMatchObject({ exitCode: 0, stdout: "b 2\n", stderr: "", truncated: false });
  });

  test("takes a non-zero exit for a result, not for a failure", async () => {
    expect(await run(driver, "bash", "exit 7")).toMatchObject({ exitCode: 7, timedOut: false });
    expect(await run(driver, "python", "raise ValueError('no')")).toMatchObject({ exitCode: 1 });
  });

  test("reaches no network, not even a server on this very machine", async () => {
    const server = createServer((_, response) => response.end("secret"));
    const port = await listen(server, 0, "0.0.0.0");
    const code = `
import socket, os
for host in ("127.0.0.1", "1.1.1.1"):
    try:
        socket.create_connection((host, ${port}), 2); print("reached", host)
    except OSError as problem: print("no", host)
print(sorted(os.listdir("/sys/class/net")) if os.path.exists("/sys/class/net") else "no sys")
print([line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]])`;
    const result = await run(driver, "python", code).finally(() => server.close());

    expect(result.stdout).toContain("no 127.0.0.1\nno 1.1.1.1\nno sys\n");
    expect(result.stdout).not.toMatch(/eth|ens|reached/u);
  });

  test("sees nothing of our environment, in its own or in any process's it can read", async () => {
    process.env["PLANTED_SECRET"] = "planted-in-the-worker";
    const code = "env; cat /proc/*/environ /proc/self/environ 2>/dev/null | tr '\\0' '\\n'; true";
    const { stdout } = await run(driver, "bash", code, { env: { ASKED_FOR: "yes" } });

    expect(stdout).toContain("ASKED_FOR=yes");
    expect(stdout).not.toContain("planted-in-the-worker");
    expect(stdout).not.toContain("PLANTED_SECRET");
  });

  test("keeps the run's environment and code off every command line of the host", async () => {
    // Ends when it has been seen, however long the box takes to be built.
    const controller = new AbortController();
    const mark = `sleep ${sleepTime()}`;
    const request = {
      language: "bash" as const,
      code: `${mark} # code-nobody-sees`,
      files: {},
      env: { TOKEN: "env-nobody-sees" },
      timeoutMs: 40_000,
    };
    const running = (await start(driver)).run(request, controller.signal);
    let seen = "";
    await vi.waitFor(
      () => {
        seen = execFileSync("ps", ["-ww", "-eo", "args"], { encoding: "utf8" });
        expect(seen).toContain(mark);
      },
      { timeout: 20_000, interval: 50 },
    );
    controller.abort();
    await running;
    expect(seen).not.toContain("nobody-sees");
  });

  test("can write nowhere but in its own folders, which are gone afterwards", async () => {
    const code = `
for place in / /usr /usr/bin /usr/local /etc /dev /opt /proc /proc/sys/kernel; do
  touch $place/written 2>/dev/null && echo "wrote $place"
done
echo x > /tmp/mine && echo x > mine && echo x > /dev/shm/mine && cat /tmp/mine mine`;
    expect((await run(driver, "bash", code)).stdout).toBe("x\nx\n");
    expect((await run(driver, "bash", "ls -A . /tmp | grep mine")).stdout).toBe("");
  });

  test("can't fill memory through its writable folders", async () => {
    const code =
      "for n in 1 2 3 4; do head -c 60M /dev/zero > /tmp/$n; done 2>/dev/null; du -sm /tmp | cut -f1";
    expect(Number((await run(driver, "bash", code)).stdout)).toBeLessThanOrEqual(65);
  });

  test("sees no file and no process of the host", async () => {
    const code = `
ls -d /root /home /var /srv /mnt /boot /sys /run ${process.cwd()} 2>/dev/null
cat /etc/passwd /etc/shadow /etc/hostname 2>/dev/null
hostname
for pid in /proc/[0-9]*; do tr '\\0' ' ' < $pid/cmdline 2>/dev/null; done | grep -c '[v]itest'`;
    const { stdout } = await run(driver, "bash", code);
    expect(stdout).toBe("sandbox\n0\n");
    expect(stdout).not.toContain(hostname() === "sandbox" ? "\0" : hostname());
  });

  test("is not root, has no capability, and can win none back", async () => {
    const code = `
grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | grep -v 0000000000000000
grep NoNewPrivs /proc/self/status
unshare --user --map-root-user true 2>/dev/null && echo 'became root of a namespace'
unshare --user true 2>/dev/null && echo 'made a user namespace'
echo 1 2>/dev/null > /proc/self/oom_score_adj && echo 'wrote to its own /proc'
grep -E ' /proc (proc|none|sysfs)? ?rw|^[^ ]+ /proc [^ ]+ rw' /proc/self/mounts
echo sandboxed > /proc/sys/kernel/hostname && echo 'wrote to /proc/sys'
mount -t tmpfs none /tmp 2>/dev/null && echo mounted
mount -o remount,rw /proc 2>/dev/null && echo remounted
umount /proc 2>/dev/null && echo unmounted
true`;
    expect((await run(driver, "bash", code)).stdout).toBe("NoNewPrivs:\t1\n");
  });

  test("holds a fork bomb, and leaves none of it", async () => {
    const mark = `bomb-${randomUUID()}`;
    // It waits, without starting anything itself, until one of them was refused a process, and a second longer.
    const code = `
mkfifo never; exec 9<>never
bomb() { exec -a ${mark} sleep 60 & bomb; }
for one in 1 2 3; do bomb 2>>refused & done
until [[ -s refused ]]; do read -rt 0.05 -u 9; done
read -rt 1 -u 9; read -r first <refused; echo "$first" >&2`;
    let [most, isOver] = [0, false];
    const running = run(driver, "bash", code, { timeoutMs: 60_000 }).finally(() => (isOver = true));
    while (!isOver) {
      most = Math.max(most, (await processesBelow(process.pid)).length);
      await sleep(50);
    }
    const result = await running;

    expect(most).toBeLessThan(200);
    expect(result.timedOut).toBe(false);
    expect(result.stderr).toMatch(/Resource temporarily unavailable|retry/u);
    await isGone(mark);
  });

  test("holds a process that wants all memory, of its own or shared", async () => {
    const own = await run(driver, "python", "x = bytearray(8 << 30)\nprint('got it')");
    const shared = await run(
      driver,
      "python",
      "import mmap\nm = mmap.mmap(-1, 8 << 30)\nfor at in range(0, 8 << 30, 1 << 20): m[at:at + (1 << 20)] = b'x' * (1 << 20)\nprint('got it')",
    );
    const node = await run(
      driver,
      "node",
      "const a = []; for (;;) a.push(new Array(1e6).fill(a.length))",
    );

    expect(own).toMatchObject({ exitCode: 1, stdout: "" });
    expect(own.stderr).toContain("MemoryError");
    expect(shared.stdout).toBe("");
    expect(shared.stderr).toContain("MiB of memory");
    expect(shared.exitCode).toBe(137);
    expect(node.exitCode).not.toBe(0);
  });

  test("at the time limit kills grandchildren too, and keeps what was printed", async () => {
    const mark = `orphan-${randomUUID()}`;
    const code = `
import subprocess, time
subprocess.Popen(["bash", "-c", "exec -a ${mark} sleep 60"], start_new_session=True,
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("so far")
time.sleep(60)`;
    const running = run(driver, "python", code, { timeoutMs: 10_000 });
    await vi.waitFor(() => expect(processesNamed(mark)).not.toEqual([]), { timeout: 10_000 });
    const result = await running;

    expect(result).toMatchObject({ exitCode: null, timedOut: true, stdout: "so far\n" });
    // The code would go on for a minute.
    expect(result.durationMs).toBeLessThan(40_000);
    await isGone(mark);
  });

  test("leaves no process behind when the code ends before its children", async () => {
    const mark = `left-${randomUUID()}`;
    const code = `(exec -a ${mark} sleep 60) </dev/null >/dev/null 2>&1 & echo done`;
    expect(await run(driver, "bash", code)).toMatchObject({ exitCode: 0, stdout: "done\n" });
    await isGone(mark);
  });

  test("ends at once when cancelled, with no process left", async () => {
    const sandbox = await start(driver);
    const mark = `abort-${randomUUID()}`;
    const stop = new AbortController();
    const request = { language: "bash", files: {}, env: {}, timeoutMs: 60_000 } as const;
    const running = sandbox.run({ ...request, code: `exec -a ${mark} sleep 60` }, stop.signal);
    await expect.poll(() => processesNamed(mark)).not.toEqual([]);
    const began = performance.now();
    stop.abort();

    expect(await running).toMatchObject({ ok: false, failure: { kind: "cancelled" } });
    expect(performance.now() - began).toBeLessThan(20_000);
    await isGone(mark);
    expect(await sandbox.run({ ...request, code: "true" }, stop.signal)).toMatchObject({
      failure: { kind: "cancelled" },
    });
  });

  test("dies with the worker that started it", async () => {
    const mark = `widow-${randomUUID()}`;
    const worker = spawn(
      process.execPath,
      [
        "--input-type=module",
        "-e",
        `import { findSandbox } from ${JSON.stringify(new URL("../../adapters/sandbox/find.ts", import.meta.url).href)};
const { sandbox } = await findSandbox({ only: ${JSON.stringify(driver)} });
await sandbox.run({ language: "bash", code: ${JSON.stringify(`exec -a wid${mark.slice(3)} sleep 60`)}, files: {}, env: {}, timeoutMs: 60000 }, new AbortController().signal);`,
      ],
      { stdio: "ignore" },
    );
    // By its own name: what the worker starts has its command line, the mark in it, between fork and exec.
    const isSleeping = (pid: string) =>
      readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith(mark);
    await vi.waitFor(() => expect(processesNamed(mark).filter(isSleeping)).not.toEqual([]), {
      timeout: 60_000,
    });
    worker.kill("SIGKILL");
    await once(worker, "exit");
    await isGone(mark);
  });

  test.each([
    ["../escape", "leaves the working directory"],
    ["a/../../escape", "leaves the working directory"],
    ["/etc/cron.d/escape", "absolute"],
    ["nul\0byte", "NUL"],
    ["a//b", "plain names"],
    ["", "expected a path"],
    [".code.sh", "the code itself"],
  ])("refuses the file path %j by name", async (path, reason) => {
    const sandbox = await start(driver);
    const request = { language: "bash", code: "ls", env: {}, timeoutMs: 5000 } as const;
    const outcome = await sandbox.run({ ...request, files: { [path]: "x" } }, never);
    expect(outcome).toMatchObject({
      ok: false,
      failure: { kind: "invalid_input", retryable: false },
    });
    const message = outcome.ok ? "" : outcome.failure.message;
    expect(message).toContain(reason);
    expect(message).toContain(JSON.stringify(path));
  });

  test("refuses an environment name that would be shell code", async () => {
    const sandbox = await start(driver);
    const request = { language: "bash", code: "true", files: {}, timeoutMs: 5000 } as const;
    expect(
      await sandbox.run({ ...request, env: { "A=1; touch /tmp/x; B": "" } }, never),
    ).toMatchObject({
      failure: { kind: "invalid_input" },
    });
  });

  test("serves many runs at once without them sharing a limit", async () => {
    const code = "for n in $(seq 30); do sleep 1 & done; wait; echo all";
    const runs = await Promise.all(Array.from({ length: 8 }, () => run(driver, "bash", code)));
    expect(runs.map(({ stdout }) => stdout)).toEqual(runs.map(() => "all\n"));
  });
});

test("without any driver there is one sentence that says what to do, and no sandbox", async () => {
  // Bubblewrap is here, and to install it would mend nothing.
  const advice = "`stateplane doctor --probe` shows what each driver does here";
  expect(await findSandbox({ only: "no-such-driver" })).toEqual({
    missing: `no sandbox works here (); ${advice}`,
  });
  vi.resetModules();
  vi.doMock("../../adapters/sandbox/find-tool.ts", () => ({ findTool: () => null }));
  onTestFinished(() => vi.doUnmock("../../adapters/sandbox/find-tool.ts"));
  const anew = await import("../../adapters/sandbox/find.ts");
  expect(await anew.findSandbox()).toEqual({
    missing: expect.stringMatching(
      /^no sandbox works here \(bubblewrap: bwrap, prlimit not on the PATH; .*install.* bubblewrap`$/u,
    ),
  });
});

test("where nobody may make a namespace, what is missing is not said to be a package", () => {
  const find = new URL("../../adapters/sandbox/find.ts", import.meta.url).href;
  const code = `console.log((await (await import(${JSON.stringify(find)})).findSandbox()).missing)`;
  const node = [process.execPath, "--input-type=module", "-e", code];
  // In a namespace that may have none below it, as in a container that refuses them.
  const script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"';
  const inside = ["--user", "--map-root-user", "sh", "-c", script, "sh", ...node];
  const said = execFileSync("unshare", inside, { encoding: "utf8" });
  expect(said).toMatch(/^no sandbox works here \(.*\); no program may make a user namespace here/u);
  expect(said).not.toContain("apt-get");
});
