import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { findSandbox } from "../../adapters/sandbox/find.ts";
import { shellQuote } from "../../adapters/sandbox/host-view.ts";
import { restricted } from "../../adapters/sandbox/seccomp-rules.ts";
import { seccompProfile } from "../../adapters/sandbox/seccomp-profile.ts";
import type { SandboxRequest } from "../../machines/contracts/ports/sandbox.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();
const running = join(folder, "running");
const never = new AbortController().signal;
const image = "registry.example/code:1";
const plain = { files: {}, env: {}, timeoutMs: 60_000 };
const calls = () =>
  readFileSync(join(folder, "log"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as string[]);

async function sandboxWith(more: object = {}) {
  const found = await findSandbox({ order: ["container"], image, ...more });
  if ("missing" in found) throw new Error(found.missing);
  return found.sandbox;
}
const run = async (request: Pick<SandboxRequest, "language" | "code"> & Partial<SandboxRequest>) =>
  (await sandboxWith()).run({ ...plain, ...request }, never);

beforeAll(() => {
  const program = join(import.meta.dirname, "../support/container-stand-in.ts");
  const words = [process.execPath, program].map(shellQuote).join(" ");
  const docker = join(folder, "docker");
  mkdirSync(running);
  writeFileSync(join(folder, "log"), "");
  writeFileSync(join(folder, "info"), '{"Runtimes":{"runc":{}}}');
  const given = { STAND_IN: folder, NODE_COMPILE_CACHE: join(folder, "compiled") };
  const set = Object.entries(given).map(([name, value]) => `export ${name}=${shellQuote(value)}\n`);
  writeFileSync(docker, `#!/bin/sh\n${set.join("")}exec ${words} "$@"\n`);
  chmodSync(docker, 0o755);
  vi.stubEnv("PATH", `${folder}${delimiter}${process.env["PATH"]}`);
});
afterAll(() => vi.unstubAllEnvs());

test("[sandbox.container] runs code with files in and out in a container that held against every probe", async () => {
  const code = `
import os, sys
print(sys.argv[1], sys.stdin.read(), os.environ.get("OF_THE_IMAGE"), open("in").read())
print("oops", file=sys.stderr)
open("out.bin", "wb").write(bytes(range(256)))`;
  const given = { args: ["a b"], stdin: "line", files: { in: "file" } };
  const outputs = { paths: ["out.bin", "absent"], maxFiles: 2, maxBytes: 1_000 };
  const memoryBytes = 300 << 20;
  const ran = await run({ language: "python", code, ...given, outputs, memoryBytes });
  expect(ran).toMatchObject({
    ok: true,
    value: {
      exitCode: 0,
      stdout: "a b line None file\n",
      stderr: "oops\n",
      leftOut: [{ path: "absent" }],
    },
  });
  const [file] = (ran.ok && ran.value.files) || [];
  expect([...(file?.content ?? [])]).toEqual(Array.from({ length: 256 }, (_, at) => at));
  const words = calls().findLast(([command]) => command === "run") ?? [];
  const asked = words.join(" ");
  for (const option of [
    "--rm",
    "--network none",
    "--read-only",
    "--cap-drop ALL",
    "--security-opt no-new-privileges",
    "--pids-limit 128",
    `--memory ${memoryBytes} --memory-swap ${memoryBytes}`,
    "--user 65534:65534",
    "--pull never",
    `--entrypoint /usr/bin/env ${image} -i`,
  ]) {
    expect(asked).toContain(option);
  }
  expect(words).not.toContain("--runtime");
  expect(asked).not.toMatch(/--privileged|docker\.sock|--mount|oops/u);
  expect(await run({ language: "bash", code: "exit 7" })).toMatchObject({ value: { exitCode: 7 } });
});

test("[sandbox.container] ends a container by its name at the time limit, and those of a crashed worker at the next start", async () => {
  const late = await run({ language: "bash", code: "echo so far; sleep 600", timeoutMs: 12_000 });
  expect(late).toMatchObject({ value: { timedOut: true, stdout: "so far\n" } });
  await vi.waitFor(() => expect(readdirSync(running)).toEqual([]), { timeout: 20_000 });
  const name = calls()
    .findLast(([command]) => command === "run")
    ?.find((word) => word.startsWith("stateplane-"));
  expect(calls().filter(([command]) => command === "rm")).toContainEqual(["rm", "--force", name]);

  // As an engine makes it that was asked for it just before.
  writeFileSync(join(running, name ?? ""), "999999999");
  await vi.waitFor(() => expect(readdirSync(running)).toEqual([]), { timeout: 20_000 });

  const [, boot, pid, started] = (name ?? "").split("-");
  const living = `stateplane-${boot}-${pid}-${started}-aa`;
  const foreign = `stateplane-other-${pid}-1-bb`;
  const orphans = [`stateplane-${boot}-${pid}-1-cc`, `stateplane-${boot}-999999999-5-dd`];
  // Of another machine or process namespace nobody knows, but no run takes a day.
  const forgotten = "stateplane-other-1-1-ee";
  for (const left of [living, foreign, forgotten, ...orphans]) {
    writeFileSync(join(running, left), "999999999");
  }
  const yesterday = Date.now() / 1_000 - 25 * 3_600;
  utimesSync(join(running, forgotten), yesterday, yesterday);
  await sandboxWith();
  expect(readdirSync(running).toSorted()).toEqual([foreign, living].toSorted());
  for (const left of [living, foreign]) rmSync(join(running, left));
});

test("[sandbox.container] an engine that does not keep its word is not used, nor one without an image or an answer", async () => {
  writeFileSync(join(folder, "leaky"), "");
  // What was proved of another image is not believed of this one.
  const request = { ...plain, language: "bash", code: "echo ran" } as const;
  const refused = await (await sandboxWith({ image: "other:1" })).run(request, never);
  rmSync(join(folder, "leaky"));
  expect(refused).toMatchObject({ ok: false, failure: { kind: "unavailable" } });
  const message = refused.ok ? "" : refused.failure.message;
  expect(message).toMatch(/container: does not hold against .*network/u);
  const bare = await findSandbox({ order: ["container"] });
  expect(bare).toMatchObject({ missing: expect.stringContaining("SANDBOX_IMAGE") });
  writeFileSync(join(folder, "info"), '{"Runtimes":{"runc":{},"runsc":{"path":"runsc"}}}');
  await sandboxWith();
  // The last one that was begun: what an earlier one left is removed again a little later.
  const asked = () =>
    calls()
      .findLast(([command]) => command === "run")
      ?.join(" ");
  expect(asked()).toContain("--runtime runsc");
  expect(asked()).toMatch(/--tmpfs \/sandbox:\S+,nr_inodes=\d+ /u);
  // Docker would make it for root alone, and the code could write nothing.
  expect(asked()).not.toContain("--workdir");
  // Podman refuses a container with an option that it does not know.
  writeFileSync(join(folder, "info"), '{"host":{"buildahVersion":"1.28.2"}}');
  await sandboxWith();
  expect(asked()).toMatch(/--tmpfs \/sandbox:\S+/u);
  expect(asked()).not.toContain("nr_inodes");
});

test("[sandbox.container] the engine's profile refuses what the filter's rules refuse", () => {
  interface Rule {
    names: string[];
    args: { index: number; op: string; value: number; valueTwo?: number }[];
  }
  const { syscalls } = seccompProfile() as { syscalls: Rule[] };
  const holds = (value: number, one: Rule["args"][number]) =>
    one.op === "SCMP_CMP_GE"
      ? value >= one.value
      : one.op === "SCMP_CMP_EQ"
        ? value === one.value
        : (value & one.value) >>> 0 === one.valueTwo;
  const number = fc.oneof(
    fc.nat({ max: 60 }),
    fc.constantFrom(1031, 0x5412, 0x541c, 0x1000_0011, 0x800 | 3, 0x8_0001),
    fc.nat({ max: 0x7fff_ffff }),
  );
  const anyCall = fc.tuple(
    fc.constantFrom(...restricted.map(({ name }) => name)),
    number,
    number,
    number,
  );
  fc.assert(
    fc.property(anyCall, ([name, ...given]) => {
      const isRefused = restricted.some(
        (rule) =>
          rule.name === name &&
          rule.when.every((one) => {
            const value = given[one.argument] ?? 0;
            if ("bits" in one) return (value & one.bits) !== 0;
            const masked = one.mask === undefined ? value : value & one.mask;
            return "in" in one ? one.in.includes(masked) : !one.notIn.includes(masked);
          }),
      );
      const isInProfile = syscalls.some(
        ({ names, args }) =>
          names.includes(name) && args.every((one) => holds(given[one.index] ?? 0, one)),
      );
      expect(isInProfile).toBe(isRefused);
    }),
    { numRuns: 500 },
  );
  // The engines take one comparison of an argument a rule.
  for (const { args } of syscalls) {
    expect(new Set(args.map(({ index }) => index)).size).toBe(args.length);
  }
});
