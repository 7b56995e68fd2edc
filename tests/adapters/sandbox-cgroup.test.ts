import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Worker } from "node:worker_threads";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { findCgroups } from "../../adapters/sandbox/cgroup.ts";
import { processesBelow } from "../../adapters/sandbox/memory.ts";
import { runSandboxed as run, startSandbox } from "../support/run-sandboxed.ts";

/* Where this user may make no cgroup, what a run holds is counted: tests/adapters/sandbox-limits.test.ts. */
const cgroups = findCgroups();
const canMake = !("missing" in cgroups);

const file = new URL("../../adapters/sandbox/cgroup.ts", import.meta.url).href;
const most = { memoryBytes: 2 ** 26, processes: 16 };

describe.runIf(canMake)("[sandbox.cgroup]", () => {
  test.each(["bubblewrap", "unshare"])(
    "%s: a run never holds more memory than its limit, be it for a moment",
    async (driver) => {
      // Within a tenth of a second: nobody would have looked meanwhile.
      const code = "held = b'x' * (400 << 20)\nprint('held', flush=True)";
      const [over, below] = await Promise.all([
        run(driver, "python", code, { memoryBytes: 100 * 2 ** 20 }),
        run(driver, "python", code),
      ]);
      expect(over).toMatchObject({ killed: true, stdout: "" });
      expect(over.stderr).toContain("more than 100 MiB");
      expect(below).toMatchObject({ exitCode: 0, stdout: "held\n" });
    },
  );

  test("a process that the kernel ended ends its run, though its parent would go on", async () => {
    const code = `python3 -c "held = b'x' * (400 << 20)"; sleep 60`;
    const ended = await run("bubblewrap", "bash", code, { memoryBytes: 100 * 2 ** 20 });
    expect(ended).toMatchObject({ killed: true, timedOut: false });
    expect(ended.stderr).toContain("more than 100 MiB");
    // Its parent would go on for a minute.
    expect(ended.durationMs).toBeLessThan(40_000);
  });

  test("groups end with all that is in them, with their runs and after a crash of their worker", async () => {
    if ("missing" in cgroups) throw new Error("looked for above");
    const group = cgroups.make(most);
    const child = spawn("sh", ["-c", "read line; setsid sleep 1000 & echo began; wait"]);
    await group.take(child.pid ?? 0);
    child.stdin.end("\n");
    await once(child.stdout, "data");
    // As a container engine makes them within.
    const nested = group.folders.map((path) => join(path, "one", "two"));
    for (const path of nested) mkdirSync(path, { recursive: true });
    const within = spawn("sleep", ["1000"]);
    for (const path of nested) writeFileSync(join(path, "cgroup.procs"), `${within.pid}`);
    await expect
      .poll(() => readFileSync(join(nested[0] ?? "", "cgroup.procs"), "utf8"))
      .not.toBe("");
    await group.end();
    expect(group.folders.filter((path) => existsSync(path))).toEqual([]);
    expect(within.signalCode ?? (await once(within, "close"))[1]).toBe("SIGKILL");
    expect(child.signalCode ?? (await once(child, "close"))[1]).toBe("SIGKILL");

    const crash = `
      import { spawn } from "node:child_process";
      import { existsSync } from "node:fs";
      const { findCgroups } = await import("${file}");
      const group = findCgroups().make(${JSON.stringify(most)});
      const child = spawn("sleep", ["1000"], { detached: true });
      await group.take(child.pid);
      const there = group.folders.filter((path) => existsSync(path));
      console.log(JSON.stringify([child.pid, ...there]));
      process.kill(process.pid, "SIGKILL");`;
    const started = spawnSync(process.execPath, ["--input-type=module", "-e", crash]);
    expect(started.signal, started.stderr.toString()).toBe("SIGKILL");
    const [pid, ...left] = JSON.parse(started.stdout.toString()) as [number, ...string[]];
    // Whoever looks for cgroups removes them, and that may be another program of this machine.
    expect(left.length).toBe(group.folders.length);
    const next = `const { findCgroups } = await import("${file}"); findCgroups();`;
    spawnSync(process.execPath, ["--input-type=module", "-e", next]);
    expect(left.filter((path) => existsSync(path))).toEqual([]);
    expect(existsSync(`/proc/${pid}`) && readFileSync(`/proc/${pid}/stat`, "utf8")).not.toContain(
      ") S ",
    );
  });

  test("a process is taken with all that it starts meanwhile", async () => {
    if ("missing" in cgroups) throw new Error("looked for above");
    const group = cgroups.make({ ...most, processes: 200 });
    // Each turn starts processes that end at once and one that stays.
    const fork =
      "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do (true; sleep 1000) & true; done; echo began; wait";
    const child = spawn("sh", ["-c", fork]);
    await group.take(child.pid ?? 0);
    await once(child.stdout, "data");
    await group.take(child.pid ?? 0);
    const all = await processesBelow(child.pid ?? 0);
    expect(all.length).toBeGreaterThan(12);
    for (const folder of group.folders) {
      const inside = readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").map(Number);
      expect(all.filter((pid) => !inside.includes(pid))).toEqual([]);
    }
    await group.end();
    expect(child.signalCode ?? (await once(child, "close"))[1]).toBe("SIGKILL");
  });

  test("what starts short processes without an end is taken, and all of it", async () => {
    if ("missing" in cgroups) throw new Error("looked for above");
    const group = cgroups.make(most);
    const child = spawn("sh", ["-c", "while :; do /bin/true; done"]);
    for (let times = 0; times < 20; times += 1) await group.take(child.pid ?? 0);
    const [folder = ""] = group.folders;
    expect(readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n")).toContain(
      `${child.pid}`,
    );
    await group.end();
  });

  test("a child that has ended and nobody waits for is no process outside", async () => {
    if ("missing" in cgroups) throw new Error("looked for above");
    const group = cgroups.make(most);
    // What a shell becomes waits for none of the shell's children.
    const child = spawn("sh", ["-c", "true & exec sleep 1000"]);
    const ended = () =>
      readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim();
    await expect
      .poll(() => ended() !== "" && readFileSync(`/proc/${ended()}/stat`, "utf8"))
      .toContain(") Z ");
    await expect.poll(() => readFileSync(`/proc/${child.pid}/comm`, "utf8")).toBe("sleep\n");
    await group.take(child.pid ?? 0);
    expect(readFileSync(join(group.folders[0] ?? "", "cgroup.procs"), "utf8")).toBe(
      `${child.pid}\n`,
    );
    await group.end();
  });

  test("a run that can't get its cgroup after all is not begun, and may be tried again", async () => {
    if ("missing" in cgroups) throw new Error("looked for above");
    await run("bubblewrap", "bash", "true");
    const sandbox = await startSandbox("bubblewrap");
    const request = { language: "bash", code: "echo began", files: {}, env: {} } as const;
    const real = cgroups.make;
    const kept: string[] = [];
    const make = vi.spyOn(cgroups, "make");
    onTestFinished(() => make.mockRestore());
    const never = new AbortController().signal;
    const tried = () => sandbox.run({ ...request, timeoutMs: 20_000 }, never);
    for (const [why, change] of [
      [
        "no room for it",
        () => {
          throw new Error("no room for it");
        },
      ],
      [
        "no way in",
        (asked: typeof most) => {
          const group = real(asked);
          kept.push(...group.folders);
          return { ...group, take: () => Promise.reject(new Error("no way in")) };
        },
      ],
    ] as const) {
      make.mockImplementation(change);
      expect(await tried()).toMatchObject({
        ok: false,
        failure: {
          kind: "unavailable",
          retryable: true,
          message: expect.stringContaining(`it got no cgroup (${why})`),
        },
      });
    }
    make.mockImplementation(real);
    expect(await tried()).toMatchObject({ ok: true, value: { stdout: "began\n" } });
    expect(kept.length).toBeGreaterThan(0);
    await expect.poll(() => kept.filter((path) => existsSync(path))).toEqual([]);
  });

  test("the threads of one process make groups of different names", async () => {
    if ("missing" in cgroups) throw new Error("looked for above");
    const script = `
      const { parentPort } = require("node:worker_threads");
      void import(${JSON.stringify(file)}).then(async ({ findCgroups }) => {
        const group = findCgroups().make(${JSON.stringify(most)});
        parentPort.postMessage(group.folders[0]);
        await group.end();
      });`;
    const threads = [1, 2, 3].map(() => new Worker(script, { eval: true }));
    const [made] = await Promise.all([
      Promise.all(threads.map(async (thread) => String((await once(thread, "message"))[0]))),
      Promise.all(threads.map((thread) => once(thread, "exit"))),
    ]);
    expect(new Set(made).size).toBe(3);
    expect(made.filter((path) => existsSync(path))).toEqual([]);
  });

  test("nothing of this process's is left", async () => {
    if ("missing" in cgroups) throw new Error("looked for above");
    const group = cgroups.make(most);
    const [folder = ""] = group.folders;
    await group.end();
    const ours = () =>
      readdirSync(dirname(folder)).filter((name) => name.includes(`-${process.pid}-`));
    await expect.poll(ours).toEqual([]);
  });
});
