import { defineConfig } from "vitest/config";

// Named by .ci/run, which reads the true counts from it.
const report = process.env["STATEPLANE_TEST_REPORT"];

export default defineConfig({
  test: {
    // One for each core; the default leaves a core to itself, and of two that is half. Many tests wait for processes.
    maxWorkers: "100%",
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
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
