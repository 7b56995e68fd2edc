import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { findCgroups } from "../../adapters/sandbox/cgroup.ts";
import { processesBelow } from "../../adapters/sandbox/memory.ts";
import { runSandboxed as run } from "../support/run-sandboxed.ts";

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
    expect(ended.durationMs).toBeLessThan(20_000);
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
      const { findCgroups } = await import("${file}");
      const group = findCgroups().make(${JSON.stringify(most)});
      const child = spawn("sleep", ["1000"], { detached: true });
      await group.take(child.pid);
      console.log(JSON.stringify([child.pid, ...group.folders]));
      process.kill(process.pid, "SIGKILL");`;
    const started = spawnSync(process.execPath, ["--input-type=module", "-e", crash]);
    expect(started.signal, started.stderr.toString()).toBe("SIGKILL");
    const [pid, ...left] = JSON.parse(started.stdout.toString()) as [number, ...string[]];
    expect(left.every((path) => existsSync(path))).toBe(true);
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
