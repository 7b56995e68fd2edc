import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sandboxHandler } from "../../actors/handlers/sandbox.ts";
import type { StepScope } from "../../actors/handlers/handler.ts";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
import { readFiles } from "../../adapters/sandbox/files-out.ts";
import { findSandbox } from "../../adapters/sandbox/find.ts";
import { loadConfig } from "../../cli/config/load-config.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { sandboxInput } from "../../machines/contracts/domain/step-input.ts";
import type { SandboxRun } from "../../machines/contracts/ports/sandbox.ts";
import { cpuMs } from "../support/cpu-time.ts";
import { runSandboxed as run, startSandbox } from "../support/run-sandboxed.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();
const never = new AbortController().signal;
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const contents = ({ files = [] }: SandboxRun) =>
  Object.fromEntries(files.map(({ path, content }) => [path, text(content)]));
const reasons = ({ leftOut = [] }: SandboxRun) =>
  Object.fromEntries(leftOut.map(({ path, reason }) => [path, reason]));
const most = { maxFiles: 20, maxBytes: 1_000_000 };

/** Leaves everything behind that is not a plain file, and a process that goes on changing one of them. */
const hostile = `
import os, subprocess, sys
os.makedirs("out/deep"); os.mkdir("elsewhere"); os.mkdir("empty")
open("report[1].csv", "w").write("a,b\\n"); open("report1.csv", "w").write("not asked for")
open("out/deep/bytes", "wb").write(bytes(range(256)))
open(b"out/odd\\n\\x1b[31m\\xff name", "w").write("odd")
open("out/twin\\x01", "w").write("one"); open("out/twin\\x02", "w").write("two")
open(b"out/bad\\xfe", "w").write("one"); open(b"out/bad\\xff", "w").write("two")
open("out/locked", "w").write("x"); os.chmod("out/locked", 0)
open("elsewhere/secret", "w").write("behind a link")
os.symlink("/usr/bin/env", "out/program"); os.symlink("../elsewhere", "out/folder")
os.symlink("elsewhere", "linked"); os.symlink("/proc/self/environ", "environ")
os.mkfifo("out/pipe")
with open("out/sparse", "w") as file: file.truncate(2_000_000)
open("out/swapped", "w").write("as it was")
swap = "cd out; while :; do ln -sf /usr/bin/env other; mv -T other swapped; mkfifo p; mv -T p swapped; done"
subprocess.Popen(["bash", "-c", swap], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
subprocess.Popen(["bash", "-c", "trap '' TERM; exec sleep 600"], start_new_session=True)
print("done"); sys.exit(3)`;

describe.each(["bubblewrap", "unshare"])("a sandbox built by %s", (driver) => {
  test("[sandbox.files] gives out plain files alone, and says what it left", async () => {
    const paths = ["report[1].csv", "out", "linked/secret", "environ", "empty", "absent.txt"];
    const result = await run(driver, "python", hostile, { outputs: { paths, ...most } });
    expect(result).toMatchObject({ exitCode: 3, stdout: "done\n", timedOut: false });
    const kept = contents(result);
    delete kept["out/swapped"];
    const { "out/twin_": one, "out/twin_~2": two, ...named } = kept;
    expect([one, two].toSorted()).toEqual(["one", "two"]);
    const { "out/bad_": first, "out/bad_~2": second, ...others } = named;
    expect([first, second].toSorted()).toEqual(["one", "two"]);
    expect(Object.keys(others)).toEqual(["out/deep/bytes", "out/odd__[31m_ name", "report[1].csv"]);
    expect(others["report[1].csv"]).toBe("a,b\n");
    const bytes = result.files?.find(({ path }) => path === "out/deep/bytes")?.content ?? [];
    expect([...bytes]).toEqual(Array.from({ length: 256 }, (_, at) => at));
    expect(reasons(result)).toMatchObject({
      "out/program": "it is a symbolic link",
      "out/folder": "it is a symbolic link",
      "out/pipe": "it is neither a file nor a folder",
      "out/locked": "it could not be read",
      "out/sparse": expect.stringContaining("larger than 1000000 bytes"),
      environ: "it is a symbolic link",
      "linked/secret": "no such file was there",
      empty: "no such file was there",
      "absent.txt": "no such file was there",
    });
    const swapped = result.files?.find(({ path }) => path === "out/swapped");
    expect([undefined, "as it was"]).toContain(swapped && text(swapped.content));
  });

  test("[sandbox.files] keeps no more than so many files and bytes, and none of a run that was stopped", async () => {
    const code = "mkdir out; for n in $(seq 100 360); do echo $n > out/$n; done; echo x > last";
    const many = await run(driver, "bash", code, {
      outputs: { paths: ["out"], maxFiles: 1_000, maxBytes: 1e9 },
    });
    expect(many.files).toHaveLength(20);
    expect(many.leftOut).toHaveLength(21);
    expect(reasons(many)[""]).toBe(`${261 - 20 - 20} more are not named`);
    const outputs = { paths: ["last"], ...most };
    const late = await run(driver, "bash", `${code}; sleep 60`, { outputs, timeoutMs: 1_500 });
    expect(late).toMatchObject({ timedOut: true, files: [] });
    expect(reasons(late)).toEqual({ last: "the run ended before all files were read" });
    const ended = await run(driver, "bash", `${code}; kill -KILL $$`, { outputs });
    expect(ended).toMatchObject({ killed: true, stderr: "" });
    expect(contents(ended)).toEqual({ last: "x\n" });
  });
});

test("[sandbox.files] refuses the path of an output by name", async () => {
  const sandbox = await startSandbox("bubblewrap");
  const request = { language: "bash", code: "true", files: {}, env: {}, timeoutMs: 5_000 } as const;
  for (const path of ["../x", "/etc/passwd", "a/../../x", "a//b", ".", "", "nul\0"]) {
    const outcome = await sandbox.run({ ...request, outputs: { paths: [path], ...most } }, never);
    expect(outcome).toMatchObject({ ok: false, failure: { kind: "invalid_input" } });
    const message = outcome.ok ? "" : outcome.failure.message;
    expect(message).toContain(`sandbox output ${JSON.stringify(path)}`);
  }
});

test("[sandbox.files] believes nothing that a box writes: limits and paths hold for any bytes", () => {
  const path = fc.oneof(
    fc.constantFrom("out", "out/a", "out/../b", "/out/a", "out//a", "other", "..", "out/\u202Ea"),
    fc.string(),
  );
  const record = fc.oneof(
    fc
      .tuple(path, fc.string({ maxLength: 30 }), fc.integer({ min: -2, max: 40 }))
      .map(([name, content, size]) => `file ${size} ${name}\0${content}`),
    fc
      .tuple(fc.constantFrom("link", "many", "toString", "x"), path)
      .map(([why, name]) => `left ${why} ${name}\0`),
    fc.constantFrom("end - -\0", "rest 9 -\0", "rest -9 -\0", "file 1e9 out/a\0"),
    fc.string(),
  );
  const wanted = { paths: ["out"], maxFiles: 3, maxBytes: 50 };
  fc.assert(
    fc.property(fc.array(record, { maxLength: 12 }), (records) => {
      const { files, leftOut } = readFiles(Buffer.from(records.join("")), wanted);
      expect(files.length).toBeLessThanOrEqual(3);
      expect(files.reduce((sum, { content }) => sum + content.length, 0)).toBeLessThanOrEqual(50);
      for (const { path: name } of files) {
        expect(name).toMatch(/^out(\/|~|$)/u);
        expect(name.split("/")).not.toContain("..");
        expect(name).not.toMatch(/[\p{Cc}\p{Cf}]/u);
      }
      expect(new Set(files.map((file) => file.path)).size).toBe(files.length);
      expect(leftOut.every(({ reason }) => typeof reason === "string")).toBe(true);
    }),
  );
});

test("[sandbox.files] a flood of records is read in time in proportion to it, and not to its end", () => {
  const wanted = { paths: ["out", "absent"], maxFiles: 3, maxBytes: 16 << 20 };
  const records = (count: number) =>
    Buffer.from(Array.from({ length: count }, (_, n) => `left link out/${n}\0`).join(""));
  const timeOf = (count: number) => {
    const bytes = records(count);
    const before = cpuMs();
    readFiles(bytes, wanted);
    return cpuMs() - before;
  };
  timeOf(5_000);
  const [few, many] = [timeOf(10_000), timeOf(80_000)];
  expect(many).toBeLessThan(24 * Math.max(few, 5));
  const { files, leftOut } = readFiles(records(200_000), wanted);
  expect(files).toEqual([]);
  expect(leftOut).toContainEqual({ path: "", reason: "the run ended before all files were read" });
});

test("[sandbox.files] a step's files are artifacts of it, listed with id, path, bytes and digest, without secrets", async () => {
  const artifacts = createArtifactFolder({ path: folder, isShared: true });
  const found = await findSandbox({
    only: "bubblewrap",
    outputs: { maxFiles: 2, maxBytes: 4_096 },
  });
  if ("missing" in found) throw new Error(found.missing);
  const { sandbox } = found;
  const hide = (value: string) => value.replaceAll("sk-planted", "[hidden]");
  const step = async (input: Record<string, Json>) => {
    const effect: StepScope["effect"] = async ({ run: act }) => {
      const outcome = await act(never, "key");
      if (!outcome.ok) return { ok: false, result: { kind: "failed", failure: outcome.failure } };
      return { ok: true, value: outcome.value };
    };
    const job = { runId: "run", stepId: "step", input: { language: "bash", ...input } };
    const screening = {
      screen: (value: Json) => ({ value, findings: [], isRefused: false }),
      hideInText: hide,
    };
    const scope = { job, effect, screening } as unknown as StepScope;
    return sandboxHandler({ sandbox, artifacts })(scope);
  };
  const code = "mkdir out; echo sk-planted > out/a-sk-planted; printf '\\377\\0' > out/b; exit $1";
  const done = await step({ code, args: ["0"], outputs: ["out/"] });
  if (done.kind !== "done") throw new Error(JSON.stringify(done));
  const { artifacts: listed, artifacts_left_out: left } = done.output as Record<
    string,
    JsonObject[]
  >;
  expect(left).toEqual([]);
  expect(listed).toEqual([
    { id: expect.any(String), path: "out/a-[hidden]", bytes: 9, sha256: expect.any(String) },
    { id: expect.any(String), path: "out/b", bytes: 2, sha256: expect.any(String) },
  ]);
  const stored = await Promise.all(
    (listed ?? []).map(({ id }) => artifacts.get("run", String(id))),
  );
  expect(stored.map((one) => one.ok && [...one.value.content])).toEqual([
    [...Buffer.from("[hidden]\n")],
    [255, 0],
  ]);
  expect(stored.map((one) => one.ok && one.value.ref)).toMatchObject(
    (listed ?? []).map(({ sha256 }) => ({ sha256, runId: "run", stepId: "step", kind: "file" })),
  );
  // What fails keeps its files too; a job can ask for less, and not for more.
  const failed = await step({ code, args: ["1"], outputs: ["out"], max_output_files: 1 });
  expect(failed).toMatchObject({
    failure: {
      details: {
        artifacts: [{}],
        artifacts_left_out: [{ reason: expect.stringContaining("at most 1 ") }],
      },
    },
  });
  const big = { code: "head -c 5000 /dev/zero > big", outputs: ["big"], max_output_mib: 64 };
  expect(await step(big)).toMatchObject({
    output: {
      artifacts: [],
      artifacts_left_out: [{ path: "big", reason: expect.stringContaining("4096") }],
    },
  });
  expect(await step({ code: "true" })).not.toHaveProperty("output.artifacts");
  expect(sandboxInput().allows({ code: "true", max_output_mib: 65 })).toBe(false);
  const env = { SANDBOX_OUTPUT_FILES: "3", SANDBOX_OUTPUT_MIB: "2" };
  const { settings } = await loadConfig({ flags: {}, env, folder: "/", file: null });
  expect([settings.sandboxOutputFiles, settings.sandboxOutputMib]).toEqual([3, 2]);
});
