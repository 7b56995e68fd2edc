import { execFile, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { attest } from "../../adapters/sandbox/attest.ts";
import { bubblewrap } from "../../adapters/sandbox/bubblewrap.ts";
import { createProvenSandbox } from "../../adapters/sandbox/find.ts";
import { processesBelow } from "../../adapters/sandbox/memory.ts";
import { answer, encode, op, seccompFilter } from "../../adapters/sandbox/seccomp.ts";
import { unshare } from "../../adapters/sandbox/unshare.ts";

const filter = seccompFilter() ?? Buffer.alloc(0);
const never = new AbortController().signal;
const request = {
  language: "bash",
  code: "echo ran",
  files: {},
  env: {},
  timeoutMs: 60_000,
} as const;

/** Bubblewrap with some words of its command line replaced. */
function changed(change: (words: string[]) => string[]) {
  const build = bubblewrap();
  return (timeoutMs: number) => change(build(timeoutMs));
}
const openAmong = (probes: Awaited<ReturnType<typeof attest>>) =>
  probes.filter(({ state }) => state !== "held").map(({ name }) => name);

describe.each([
  ["bubblewrap", bubblewrap],
  ["unshare", unshare],
])("%s", (_, builder) => {
  test("[sandbox.attested] holds against every probe, of which there are many", async () => {
    const probes = await attest({ builder }, filter);
    expect(probes.filter(({ state }) => state !== "held")).toEqual([]);
    expect(new Set(probes.map(({ name }) => name)).size).toBeGreaterThan(60);
  });
});

test("[sandbox.attested] doctor --probe shows the same to a user without rights", async () => {
  const asNobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
  const doctor = [join(import.meta.dirname, "../../cli/bin.ts"), "doctor", "--probe", "--json"];
  const words = [process.execPath, ...doctor];
  const [command = "", ...args] =
    process.getuid?.() === 0 ? ["setpriv", ...asNobody, ...words] : words;
  const { stdout } = await promisify(execFile)(command, args, {
    cwd: "/",
    env: { PATH: process.env["PATH"], HOME: "/nowhere" },
  });
  const { ok, drivers } = JSON.parse(stdout) as {
    ok: boolean;
    drivers: { driver: string; holds: boolean; probes: unknown[] }[];
  };
  expect(ok).toBe(true);
  expect(drivers.map(({ driver, holds }) => ({ driver, holds }))).toEqual([
    { driver: "bubblewrap", holds: true },
    { driver: "unshare", holds: true },
    // Without an image there is none.
    { driver: "container", holds: false },
  ]);
});

describe("[sandbox.attested] a hole is found", () => {
  const allowAll = encode([{ code: op.answer, ifTrue: 0, ifFalse: 0, operand: answer.allow }]);

  test("where no call is refused", async () => {
    const open = openAmong(await attest({ builder: bubblewrap }, allowAll));
    for (const group of ["keyrings", "memory", "processes", "namespaces", "newer calls"]) {
      expect(open).toContain(`calls: ${group}`);
    }
    expect(open).toContain("sockets: other families");
  });

  test("where a folder of the host is shown", async () => {
    const folder = mkdtempSync(join(tmpdir(), "shown-"));
    chmodSync(folder, 0o755);
    vi.stubEnv("TMPDIR", folder);
    onTestFinished(() => {
      vi.unstubAllEnvs();
      rmSync(folder, { recursive: true });
    });
    const build = changed((words) => {
      const at = words.indexOf("--chdir");
      return [...words.slice(0, at), "--ro-bind", folder, folder, ...words.slice(at)];
    });
    const open = openAmong(await attest({ builder: () => build }, filter));
    expect(open).toEqual(
      expect.arrayContaining(["host files: one of ours", "symlinks: to a file of ours"]),
    );
  });

  test("where its program never starts", async () => {
    const probes = await attest({ builder: () => () => ["false"] }, filter);
    expect(openAmong(probes).length).toBeGreaterThan(60);
  });
});

test("[sandbox.attested] nothing is left of an attestation whose worker is killed", async () => {
  const at = (name: string) => new URL(`../../adapters/sandbox/${name}.ts`, import.meta.url).href;
  const script = `
    const { attest } = await import(${JSON.stringify(at("attest"))});
    const { bubblewrap } = await import(${JSON.stringify(at("bubblewrap"))});
    const { seccompFilter } = await import(${JSON.stringify(at("seccomp"))});
    await attest({ builder: bubblewrap }, seccompFilter());`;
  const worker = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: "ignore",
  });
  // What each is, since numbers are given again.
  const began = (pid: number) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
    } catch {
      return "";
    }
  };
  const known = await vi.waitUntil(
    async () => {
      const [, ...all] = await processesBelow(worker.pid ?? 0);
      const found = all.map((pid) => [pid, began(pid)] as const);
      // Some have ended since they were found.
      const left = found.filter(([, time]) => time !== "");
      return found.length > 7 && left.length > 1 ? left : null;
    },
    { timeout: 60_000, interval: 5 },
  );
  worker.kill("SIGKILL");
  await expect.poll(() => known.filter(([pid, time]) => began(pid) === time)).toEqual([]);
});

test("[sandbox.attested] what has a hole runs nothing: the next driver does, or the job is refused", async () => {
  const needs: string[] = [];
  const withNetwork = () =>
    changed((words) =>
      words.flatMap((word) => (word === "--unshare-all" ? [word, "--share-net"] : [word])),
    );
  const holey = { name: "holey", needs, builder: withNetwork };
  const sandbox = createProvenSandbox([holey, { name: "whole", needs, builder: unshare }]);
  expect(await sandbox.run(request, never)).toMatchObject({ ok: true, value: { stdout: "ran\n" } });
  expect(sandbox.driver).toBe("whole");

  const refused = await createProvenSandbox([holey]).run(request, never);
  expect(refused).toMatchObject({ ok: false, failure: { kind: "unavailable" } });
  const message = refused.ok ? "" : refused.failure.message;
  expect(message).toMatch(/holey: does not hold against .*network.*; `stateplane doctor --probe`/u);
});
