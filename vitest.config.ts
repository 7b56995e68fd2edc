import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

// Named by .ci/run, which reads the true counts from it.
const report = process.env["STATEPLANE_TEST_REPORT"];

// Every file starts a process, and most of them start more: what one has compiled the others read.
process.env["NODE_COMPILE_CACHE"] ??= join(tmpdir(), "node-compile-cache");

/** What lives on processes and timers, up to two minutes a file: begun last, it would leave the other cores idle. */
const long = /\/tests\/(chaos|cli|crash|ferrumdeck|package|simulation)\//u;

class LongFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => Number(long.test(b.moduleId)) - Number(long.test(a.moduleId)));
  }
}

export default defineConfig({
  test: {
    // Three for two cores: about half of a file's time goes by in waiting for processes, leases and timers.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    sequence: { sequencer: LongFilesFirst },
    ...(report === undefined
      ? {}
      : { reporters: ["default", "json"], outputFile: { json: report } }),
    projects: [
      { test: { name: "architecture", include: ["tests/architecture/**/*.test.ts"] } },
      {
        test: {
          name: "behaviour",
          include: ["tests/**/*.test.ts"],
          exclude: ["tests/architecture/**"],
          globalSetup: ["tests/support/tell-missing.ts"],
          setupFiles: ["tests/support/property-seed.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // What comes in a moment here may take seconds on a machine that has other work.
          expect: { poll: { timeout: 20_000 } },
        },
      },
    ],
  },
});
