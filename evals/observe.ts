import { isDeepStrictEqual } from "node:util";
import { type } from "arktype";
import { checked } from "../adapters/control-plane/answer.ts";
import { type ControlPlaneApi, pathTo } from "../adapters/control-plane/api.ts";
import { fail, ok, type Outcome, terminal } from "../machines/contracts/domain/failure.ts";
import {
  isJsonObject,
  type Json,
  type JsonObject,
  parseJson,
} from "../machines/contracts/domain/json.ts";
import { keptIn } from "../machines/contracts/domain/kept-output.ts";
import type { ArtifactStore } from "../machines/contracts/ports/artifact-store.ts";
import {
  isRunEnded,
  isStepEnded,
  type RunStatus,
  type StepStatus,
} from "../machines/contracts/domain/status.ts";
import { type RunView, type StepView, traceView } from "../machines/contracts/wire/views.ts";
import type { Observation, ObservedCall, ObservedStep } from "./contracts.ts";
import { callsOf, failureOf, requestIn } from "./observed-calls.ts";

export type Gathered = Omit<Observation, "duration_ms">;

const microsPerCent = 10_000;
const auditPage = 1_000;
/** A control plane may give fewer at a time than it is asked for, and none so few. */
const leastPage = 20;
const auditList = type({ event: "string", "details?": "unknown" }).array();

/** Where what a run left is read. */
export interface Sources {
  api: ControlPlaneApi;
  /** Holds the results that were too long to travel; null where this process can't read them. */
  artifacts: Pick<ArtifactStore, "get"> | null;
  /** The states that a step passed, where this process saw them. */
  statesOf?: (stepId: string) => ObservedStep["states"];
}

/**
 * All that the control plane can tell of a run: by its id, or as it was seen when it had ended. What can't be read is a
 * failure: a scorer that was shown nothing in its place would find nothing wrong.
 */
export async function gather(
  { api, artifacts, statesOf = () => [] }: Sources,
  of: string | RunView,
  signal: AbortSignal,
): Promise<Outcome<Gathered>> {
  const runId = typeof of === "string" ? of : of.id;
  const [run, listed, audit] = await Promise.all([
    typeof of === "string" ? api.run(of, signal) : ok(of),
    api.steps(runId, signal),
    auditOf(api, runId, signal),
  ]);
  if (!run.ok) return run;
  if (!listed.ok) return listed;
  if (!audit.ok) return audit;
  const steps: StepView[] = [];
  for (const step of listed.value) {
    const output = await whole(artifacts, step.run_id, step.output);
    if (!output.ok) return output;
    steps.push({ ...step, output: output.value });
  }
  const output = await whole(artifacts, runId, run.value.output);
  if (!output.ok) return output;
  const told = callsOf(steps, audit.value);
  // It counts some, and tells of none.
  const calls = told?.length === 0 && (run.value.tool_calls ?? 0) > 0 ? null : told;
  const made = requestIn(calls ?? [], output.value);
  return ok({
    run_id: runId,
    run_status: run.value.status,
    output: output.value,
    steps: steps.map((step) => toStep(step, statesIn(step, statesOf(step.id)))),
    ...(calls === null ? {} : { calls }),
    ...(audit.value === null ? {} : { audit: audit.value }),
    usage: usageOf(run.value, steps, calls),
    ...(made === null ? {} : { pull_request: made }),
  });
}

/** An output as it was made, where a note in its place names the artifact that holds it. */
async function whole(
  artifacts: Sources["artifacts"],
  runId: string,
  given: unknown,
): Promise<Outcome<Json>> {
  const output = toJson(given);
  const kept = keptIn(output);
  if (kept === null) return ok(output);
  const unreadable = (why: string) =>
    fail(terminal("corrupt_record", `an output is kept as artifact ${kept.id}, and ${why}`));
  if (artifacts === null) return unreadable("this process can't read it");
  const found = await artifacts.get(runId, kept.id);
  if (!found.ok)
    return found.failure.retryable
      ? found
      : unreadable(`it can't be read: ${found.failure.message}`);
  const read = parseJson(new TextDecoder().decode(found.value.content));
  if (found.value.ref.sha256 !== kept.sha256 || !read.ok || !isJsonObject(read.value))
    return unreadable("its content has changed");
  return ok(read.value["output"] ?? null);
}

/** More of one run is read by nobody. */
const mostAudited = 20_000;

/** Null where the control plane has no audit to show, as FerrumDeck's; no run leaves an empty one. */
async function auditOf(
  api: ControlPlaneApi,
  runId: string,
  signal: AbortSignal,
): Promise<Outcome<JsonObject[] | null>> {
  const path = pathTo`/v1/runs/${runId}/audit`;
  if (!path.ok) return path;
  const entries: JsonObject[] = [];
  while (entries.length < mostAudited) {
    const page = `${path.value}?limit=${auditPage}&offset=${entries.length}`;
    const answer = await api.call({ method: "GET", path: page }, signal);
    if (!answer.ok && answer.failure.details?.["status"] === 404) return ok(null);
    const read = checked(answer, auditList, "list of audit entries");
    if (!read.ok) return read;
    const found = read.value as JsonObject[];
    if (entries.length > 0 && found.length > 0 && isDeepStrictEqual(found[0], entries[0])) {
      // One that knows of no pages gives all of them at once.
      if (found.length < auditPage && isDeepStrictEqual(found, entries)) return ok(entries);
      return fail(terminal("refused", `${page}: the control plane answers the first page again`));
    }
    entries.push(...found);
    if (found.length < leastPage) return ok(entries.length === 0 ? null : entries);
  }
  const problem = `the audit of run ${runId} has more than ${mostAudited} entries`;
  return fail(terminal("too_large", `${problem}, and no more are read`));
}

/** As this process saw them, or as our control plane keeps them of a worker elsewhere. */
function statesIn({ trace }: StepView, seen: ObservedStep["states"]): ObservedStep["states"] {
  const told = traceView()(trace);
  if (seen.length > 0 || told instanceof type.errors) return seen;
  return told.states.map((state, at) => ({ state, at: told.entered?.[at] ?? "" }));
}

/** Why what was told of a run can't be all of it; null where it can. */
export function partOf({ run_status: status, steps = [] }: Gathered): string | null {
  if (!isRunEnded(status as RunStatus)) return `run ${status}, which was told to have ended`;
  const ids = steps.map(({ id }) => id);
  const twice = ids.find((id, at) => ids.indexOf(id) !== at);
  if (twice !== undefined) return `step ${twice} twice`;
  const open = steps.find((step) => !isStepEnded(step.status as StepStatus));
  return status === "completed" && open !== undefined
    ? `step ${open.id} as ${open.status}, of a run that is completed`
    : null;
}

const toJson = (value: unknown): Json => (value ?? null) as Json;

function toStep(step: StepView, states: ObservedStep["states"]) {
  const { id, name, step_type, status, output, error } = step;
  const failure = failureOf(step);
  return {
    id,
    ...(name ? { name } : {}),
    type: step_type,
    status,
    states,
    ...(output === undefined || output === null ? {} : { output: toJson(output) }),
    ...(failure === null
      ? typeof error === "string"
        ? { error: { message: error } }
        : {}
      : { error: failure }),
  };
}

/** Micro-dollars; null where a model was asked whose price nobody knows. */
function usageOf(
  run: RunView,
  steps: readonly StepView[],
  calls: readonly ObservedCall[] | null,
): Observation["usage"] {
  const isUnknown = steps.some(
    ({ output, cost_micros: own, input_tokens: read, output_tokens: written }) =>
      // A call that nobody answered used nothing.
      (isJsonObject(output) && output["cost_micros"] === null && output["usage"] !== null) ||
      (own === null && (read ?? 0) + (written ?? 0) > 0),
  );
  const { cost_micros: micros, cost_cents: cents } = run;
  const cost = micros ?? (typeof cents === "number" ? cents * microsPerCent : null);
  return {
    input_tokens: run.input_tokens ?? null,
    output_tokens: run.output_tokens ?? null,
    tool_calls: run.tool_calls ?? calls?.length ?? null,
    cost_microusd: isUnknown || cost === null ? null : Math.round(cost),
  };
}

const passing = new Set(["unavailable", "rate_limited", "policy_unavailable"]);
const lasting = new Set([
  "unauthorized",
  "misconfigured",
  "corrupt_record",
  "delivered_too_often",
  "internal",
]);

/** Why a run that failed or was cancelled says nothing of its agent; null where it does. */
export function infrastructureTrouble({
  run_status: status,
  steps,
}: Pick<Observation, "run_status" | "steps">): { problem: string; mayPass: boolean } | null {
  // By whoever did it; what the eval itself cancelled is never asked about.
  if (status === "cancelled") return { problem: "somebody else cancelled the run", mayPass: false };
  if (status !== "failed") return null;
  for (const { error, id } of steps ?? []) {
    const kind = String(error?.["kind"] ?? "");
    if (passing.has(kind) || lasting.has(kind)) {
      const problem = `step ${id} failed as ${kind}: ${String(error?.["message"] ?? "")}`;
      return { problem, mayPass: passing.has(kind) };
    }
  }
  return null;
}
