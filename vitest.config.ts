import { defineConfig } from "vitest/config";

// Named by .ci/run, which reads the true counts from it.
const report = process.env["STATEPLANE_TEST_REPORT"];

export default defineConfig({
  test: {
    ...(report === undefined
      ? {}
      : { reporters: ["default", "json"], outputFile: { json: report } }),
    projects: [
      { test: { name: "architecture", include: ["tests/architecture/**/*.test.ts"] } },
      { test: { name: "unit", include: ["tests/unit/**/*.test.ts"], testTimeout: 30_000 } },
      {
        test: {
          name: "integration",
          include: ["tests/integration/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
