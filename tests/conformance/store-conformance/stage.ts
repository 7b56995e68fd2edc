import { expect } from "vitest";
import { type Job, toEnvelope } from "../../../machines/contracts/domain/job.ts";
import type {
  StepBackend,
  Delivery,
  Ending,
  Lease,
  Parking,
} from "../../../machines/contracts/ports/step-backend.ts";
import type { StepKey } from "../../../machines/contracts/domain/record.ts";

/** Two workers on one fresh store. */
export interface Stage {
  a: StepBackend;
  b: StepBackend;
}

export const key: StepKey = { runId: "run_1", stepId: "stp_1" };
export const job: Job = {
  ...key,
  stepType: "tool",
  input: { tool_name: "écho", nested: { list: [1, null, "\u0001 \"'\\ 🦆"] } },
  tenantId: "ten_1",
  projectId: null,
  agentId: null,
  traceId: null,
  spanId: null,
  createdAt: 1_737_900_000_000,
};
export const fields = { data: toEnvelope(job) };
export const parking: Parking = {
  job,
  snapshot: { version: 1, snapshot: { value: "awaiting-approval", context: { n: 1 } } },
  stateHistory: ["pending", "policy-check", "awaiting-approval"],
  wakeAt: null,
};
export const ending: Ending = {
  stateHistory: ["pending", "executing", "reported"],
  deadLetter: null,
};
export const result = { status: "completed", output: { text: "ünï" }, usage: null } as const;
export const begun = { event: "begun", effect: "tool:1", at: 1 } as const;
export const completed = {
  event: "completed",
  effect: "tool:1",
  at: 2,
  result: { ok: true },
} as const;
/** How many dead letters the backends under test keep. */
export const maxDeadLetters = 5;
export const hour = 3_600_000;
export const never = new AbortController().signal;
/** Longer than a busy machine lets this process stand still between two calls, milliseconds. */
export const longStill = 3_000;

export const readOne = async (backend: StepBackend): Promise<Delivery> => {
  const [delivery] = await backend.queue.read(1, 2_000, never);
  if (delivery === undefined) throw new Error("expected a job on the stream");
  return delivery;
};
export const lease = async (
  backend: StepBackend,
  entryId: string,
  leaseMs = hour,
): Promise<Lease> => {
  const opening = await backend.store.open(entryId, key, leaseMs, fields);
  if (opening.kind !== "opened") throw new Error(`expected to open it, but ${opening.kind}`);
  return opening.lease;
};
/** A job published, read and opened by `home`. */
export const take = async (backend: StepBackend): Promise<Lease> =>
  lease(backend, (await publishAndRead(backend)).entryId);
export const publishAndRead = async (backend: StepBackend): Promise<Delivery> => {
  await backend.queue.publish(fields);
  return readOne(backend);
};
/** `home` takes over whatever is pending, as if every lease had run out. */
export const takeOver = async (backend: StepBackend): Promise<Delivery> => {
  const [delivery] = await backend.queue.claimStale(0, 10);
  if (delivery === undefined) throw new Error("expected a stale entry");
  return delivery;
};

/** Nothing is left on the stream. */
export const expectEmpty = async ({ queue }: StepBackend): Promise<void> => {
  expect(await queue.stats()).toMatchObject({ length: 0, pending: 0 });
};
