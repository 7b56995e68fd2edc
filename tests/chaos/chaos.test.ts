import { expect, it } from "vitest";
import { runChaos } from "./run-chaos.ts";

it("loses nothing and does nothing twice, though workers die and Redis and the control plane go away, are demoted, and others answer in their place", async () => {
  const progress: string[] = [];
  const report = await runChaos({
    steps: 200,
    workers: 2,
    seed: 1,
    limitMs: 280_000,
    leaseMs: 1_500,
    blowMs: 1_000,
    awayMs: 2_000,
    onProgress: (line) => void progress.push(line),
    signal: new AbortController().signal,
  });
  expect(report, progress.join("\n")).toMatchObject({
    steps: 200,
    reports: 200,
    duplicates: 0,
    lost: 0,
    repeated: 0,
    unpermitted: 0,
    failed: 0,
    restarts: 1,
    demotions: 1,
    awayMs: 2_000,
    deadLetters: 0,
    left: 0,
  });
  // Otherwise nothing was proved.
  expect(report.kills + report.pauses).toBeGreaterThan(2);
  expect(report.calls.unanswered).toBeGreaterThan(5);
  expect(report.calls.misanswered).toBeGreaterThan(5);
}, 400_000);
