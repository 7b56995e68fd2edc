import { type } from "arktype";
import { once } from "./once.ts";
import { type Failure, terminal } from "./failure.ts";
import { type Budget, budgetShape } from "./budget.ts";
import { cutText } from "./text.ts";
import { isJsonObject, jsonDepth, type JsonObject, parseJson } from "./json.ts";

/** The five step types a worker executes. */
export const stepTypes = ["llm", "tool", "retrieval", "sandbox", "approval"] as const;
export type StepType = (typeof stepTypes)[number];

export function isStepType(text: string): text is StepType {
  return (stepTypes as readonly string[]).includes(text);
}

/** A step type as the stream spells it: FerrumDeck stores an approval as `human`, and enqueues it so once approved. */
function readStepType(text: string): StepType | undefined {
  if (text === "human") return "approval";
  return isStepType(text) ? text : undefined;
}

/** A step as it stands on the stream, whichever of the two wire forms it came in. */
export interface Job {
  runId: string;
  stepId: string;
  stepType: StepType;
  input: JsonObject;
  tenantId: string | null;
  projectId: string | null;
  agentId: string | null;
  /** W3C trace id (32 hex digits) and span id (16) of whoever enqueued the step. */
  traceId: string | null;
  spanId: string | null;
  /** Nobody has decided yet whether that trace is sampled: its steps are, as roots would be. */
  isTraceRoot?: true;
  /** Epoch milliseconds; null when the envelope did not say. */
  createdAt: number | null;
  /** The limits of its run, where the context names any. */
  budget?: Partial<Budget>;
}

/** A job that can't be run. With both ids it can still be reported; without, it is only kept as a dead letter. */
export interface InvalidJob {
  failure: Failure;
  runId: string | null;
  stepId: string | null;
}

export type ParsedJob = { valid: true; job: Job } | { valid: false; invalid: InvalidJob };

const nullableText = once(() => type("string | null | undefined"));
/**
 * An id goes into a path, a header, a store's key and a folder's name, so only what all of them take is an id:
 * 1 to 255 visible ASCII characters, and neither `.` nor `..`, which a path resolves away.
 */
const idPattern = /^(?!\.{1,2}$)[\x21-\x7e]{1,255}$/;
const id = once(() =>
  type(idPattern).describe("1 to 255 visible ASCII characters, and neither '.' nor '..'"),
);

/** Whether a text can name a run or a step. */
export const isId = (text: unknown): text is string =>
  typeof text === "string" && idPattern.test(text);

/** Deeper than this, recursive code of stores and control planes is at risk; FerrumDeck's parser stops at 128. */
export const maxJobDepth = 64;

const payload = once(() =>
  type({
    run_id: id(),
    step_id: id(),
    step_type: "string",
    "input?": "unknown",
    "context?": "unknown",
  }),
);
const context = once(() =>
  type({
    "tenant_id?": nullableText(),
    "project_id?": nullableText(),
    "agent_id?": nullableText(),
    "trace_id?": nullableText(),
    "span_id?": nullableText(),
    "trace_root?": "unknown",
    "budget?": "unknown",
  }),
);
/**
 * What the two shapes above say, by hand: each job is read, nearly every one passes, and the shapes take ten times as
 * long to say so in a program that does not compile them. What does not pass is read by its shape, for its words.
 */
const isPayload = (raw: Record<string, unknown>): raw is ReturnType<typeof payload>["infer"] =>
  isId(raw["run_id"]) && isId(raw["step_id"]) && typeof raw["step_type"] === "string";
const isContext = (scope: unknown): scope is ReturnType<typeof context>["infer"] =>
  isJsonObject(scope) && namesInContext.every((name) => isNullableText(scope[name]));
const namesInContext = ["tenant_id", "project_id", "agent_id", "trace_id", "span_id"] as const;
const isNullableText = (part: unknown) => part == null || typeof part === "string";

/** Apart, and read where there is one: to drop keys, arktype copies all that it reads. */
const budgeted = once(() => type({ budget: budgetShape.onDeepUndeclaredKey("delete") }));

/** The fields of a stream entry that are read; a publisher may write others. */
export const jobFields = [
  "data",
  "run_id",
  "step_id",
  "step_type",
  "input",
  "tenant_id",
  "project_id",
  "agent_id",
  "trace_id",
  "span_id",
] as const;

/**
 * Reads a stream entry: the envelope (JSON in `data`) or the legacy flat fields. Never throws: an
 * entry that can't be run comes back as a value that says why, so that no entry is stranded.
 */
export function parseJob(fields: Readonly<Record<string, string>>): ParsedJob {
  const data = fields["data"];
  return data === undefined ? parseFlat(fields) : parseEnvelope(data);
}

function parseEnvelope(data: string): ParsedJob {
  const read = parseJson(data);
  if (!read.ok && read.reason === "syntax") return invalid("the entry's `data` field is not JSON");
  const envelope = read.ok ? read.value : roughly(data);
  if (!isJsonObject(envelope)) {
    return invalid("the entry's `data` field: expected a JSON object");
  }
  if (!isJsonObject(envelope["payload"])) {
    return invalid("the envelope's `payload()`: expected an object");
  }
  if (!read.ok) return invalid(`the envelope ${read.problem}`, envelope["payload"]);
  const createdAt = envelope["created_at"];
  return parsePayload(envelope["payload"], typeof createdAt === "number" ? createdAt : null);
}

function parseFlat(fields: Readonly<Record<string, string>>): ParsedJob {
  const { run_id, step_id, step_type, tenant_id, project_id, agent_id, trace_id, span_id } = fields;
  // As a store puts a step back whose record does not say its job any more.
  if (step_type === undefined && fields["unreadable"] !== undefined) {
    const problem = "the step's record is damaged: the `input` that it kept can't be put back";
    return invalid(problem, { run_id, step_id });
  }
  if (run_id === undefined && step_id === undefined) {
    return invalid("the entry has neither a `data` field nor `run_id` and `step_id`");
  }
  const input = parseJson(fields["input"] ?? "{}");
  if (!input.ok)
    return invalid(`the entry's \`input\` field ${input.problem}`, { run_id, step_id });
  const flat = { run_id, step_id, step_type, input: input.value };
  const scope = { tenant_id, project_id, agent_id, trace_id, span_id };
  return parsePayload({ ...flat, context: scope }, null);
}

/** The ids of a job that is refused for its numbers or its depth: it is reported, not only kept. */
function roughly(text: string): unknown {
  return JSON.parse(text);
}

function parsePayload(raw: Record<string, unknown>, createdAt: number | null): ParsedJob {
  const read = isPayload(raw) ? raw : payload()(raw);
  if (read instanceof type.errors) return invalid(`the job's ${read.summary}`, raw);
  const stepType = readStepType(read.step_type);
  if (stepType === undefined) {
    return invalid(`the job's step_type "${cutText(read.step_type, 64)}" is unknown here`, raw);
  }
  const input = read.input ?? {};
  if (!isJsonObject(input)) return invalid("the job's `input`: expected an object", raw);
  if (jsonDepth(input, maxJobDepth) > maxJobDepth) {
    return invalid(`the job's \`input\` is nested deeper than ${maxJobDepth} levels`, raw);
  }
  const named = read.context ?? {};
  const scope = isContext(named) ? named : context()(named);
  if (scope instanceof type.errors) return invalid(`the job's context: ${scope.summary}`, raw);
  const limits = scope.budget == null ? {} : budgeted()({ budget: scope.budget });
  if (limits instanceof type.errors) return invalid(`the job's context: ${limits.summary}`, raw);
  return {
    valid: true,
    job: {
      runId: read.run_id,
      stepId: read.step_id,
      stepType,
      input,
      tenantId: scope.tenant_id ?? null,
      projectId: scope.project_id ?? null,
      agentId: scope.agent_id ?? null,
      traceId: scope.trace_id ?? null,
      spanId: scope.span_id ?? null,
      ...(scope.trace_root === true ? { isTraceRoot: true } : {}),
      createdAt,
      ...limits,
    },
  };
}

function invalid(problem: string, raw: Record<string, unknown> = {}): ParsedJob {
  const named = (value: unknown) => (isId(value) ? value : null);
  const failure = terminal("invalid_job", cutText(problem, 500));
  return {
    valid: false,
    invalid: { failure, runId: named(raw["run_id"]), stepId: named(raw["step_id"]) },
  };
}

/** The envelope that {@link parseJob} reads, as FerrumDeck's gateway writes it. */
export function toEnvelope(job: Job, attempts = 0): string {
  return JSON.stringify({
    id: job.stepId,
    payload: {
      run_id: job.runId,
      step_id: job.stepId,
      step_type: job.stepType,
      input: job.input,
      context: {
        tenant_id: job.tenantId,
        project_id: job.projectId,
        ...(job.agentId === null ? {} : { agent_id: job.agentId }),
        trace_id: job.traceId,
        span_id: job.spanId,
        ...(job.isTraceRoot === true ? { trace_root: true } : {}),
        ...(job.budget === undefined ? {} : { budget: job.budget }),
      },
    },
    created_at: job.createdAt,
    attempts,
  });
}
