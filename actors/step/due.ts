import type { Job } from "../../machines/contracts/job.ts";
import type { RuntimeOptions } from "../options.ts";

/** The absolute times, epoch milliseconds, that follow from when the job was created; null for none. */
export function due(
  job: Job | null,
  { deadlines }: Pick<RuntimeOptions, "deadlines">,
): { queue: number | null; total: number | null } {
  const createdAt = job?.createdAt ?? null;
  const after = (ms: number | null) => (createdAt === null || ms === null ? null : createdAt + ms);
  return { queue: after(deadlines.queueMs), total: after(deadlines.totalMs) };
}
