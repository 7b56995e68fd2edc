import { expect, it, vi } from "vitest";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import { defaultOptions } from "../../actors/options.ts";
import { startRuntime, systemClock } from "../../actors/runtime.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import { noNeighbours } from "../kit/live-once.ts";
import { simulatedControlPlane } from "../kit/simulated-control-plane.ts";
import { sampleJob } from "../kit/step-events.ts";

it("a runtime that stops aborts the work of every step alive, and crashes over none [interrupt.stop]", async () => {
  const backend = await createSqliteBackend({
    path: ":memory:",
    consumer: "one",
    clock: systemClock,
  });
  const signals: AbortSignal[] = [];
  const stuck: StepHandler = ({ signal }) => {
    signals.push(signal);
    return new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(new Error("aborted")));
    });
  };
  const errors: string[] = [];
  const error = (_: object, message: string) => void errors.push(message);
  const plane = simulatedControlPlane(sampleJob, { answers: [], now: Date.now, approvalMs: 1_000 });
  const runtime = startRuntime(
    {
      ...noNeighbours,
      queue: backend.queue,
      store: backend.store,
      clock: systemClock,
      controlPlane: plane,
      log: { ...noNeighbours.log, error },
    },
    { ...defaultOptions, handlers: { retrieval: stuck } },
  );
  for (const stepId of ["stp_1", "stp_2", "stp_3"]) {
    const job = { ...sampleJob, stepId, stepType: "retrieval" as const, input: { query: "x" } };
    await backend.queue.publish({ data: toEnvelope(job) });
  }
  await vi.waitFor(() => expect(signals).toHaveLength(3), { timeout: 20_000 });
  await runtime.stop();
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true, true]);
  expect(errors).toEqual([]);
  await backend.close();
});
