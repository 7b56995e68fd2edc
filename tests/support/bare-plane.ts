import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import { defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { type Runtime, startRuntime } from "../../actors/runtime.ts";
import { fail, type Failure, ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { RunStatus, StepStatus } from "../../machines/contracts/domain/status.ts";
import type {
  ControlPlane,
  Extension,
  Reception,
  Report,
} from "../../machines/contracts/ports/control-plane.ts";
import type { StepResult } from "../../machines/contracts/domain/step-result.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { noNeighbours } from "../kit/live-once.ts";
import { type VirtualClock, virtualClock } from "../kit/virtual-clock.ts";

/** A control plane of one run and one step that guards nothing: whatever is reported stands. */
export interface BarePlane extends ControlPlane {
  runStatus: RunStatus;
  stepStatus: StepStatus;
  /** Whether the run has other steps, and so does not end with this one. */
  runGoesOn: boolean;
  /** What was sent to it, and what of that it applied. */
  reports: Report[];
  applied: Report[];
  advertised: Set<Extension>;
  looks: { run: number; steps: number };
  /** Asked in turn before each report, look at the run and look at the steps; null lets the call through. */
  answers: {
    report: (Failure | "lost" | null)[];
    run: (Failure | null)[];
    steps: (Failure | null)[];
    extensions: (Failure | null)[];
  };
}

export function barePlane(): BarePlane {
  const unavailable: Failure = { kind: "unavailable", message: "no answer", retryable: true };
  const plane: BarePlane = {
    runStatus: "running",
    stepStatus: "running",
    runGoesOn: false,
    reports: [],
    applied: [],
    advertised: new Set(),
    looks: { run: 0, steps: 0 },
    answers: { report: [], run: [], steps: [], extensions: [] },
    ping: async () => ok(null),
    async extensions() {
      const failure = plane.answers.extensions.shift() ?? null;
      return failure === null ? ok(plane.advertised) : fail(failure);
    },
    checkTool: async () => ok({ kind: "allow", reason: "on the list" }),
    async report(report): Promise<Outcome<Reception>> {
      plane.reports.push(report);
      const said = plane.answers.report.shift() ?? null;
      if (said !== null && said !== "lost") return fail(said);
      plane.applied.push(report);
      const { status } = report.body;
      plane.stepStatus = status;
      if (!plane.runGoesOn) plane.runStatus = status;
      return said === "lost" ? fail(unavailable) : ok("accepted");
    },
    requestApproval: async () =>
      fail({ kind: "refused", message: "no such route", retryable: false }),
    findApproval: async () =>
      fail({ kind: "not_found", message: "no such route", retryable: false }),
    async run(id) {
      plane.looks.run += 1;
      const failure = plane.answers.run.shift() ?? null;
      return failure === null ? ok({ id, status: plane.runStatus }) : fail(failure);
    },
    async steps(runId) {
      plane.looks.steps += 1;
      const failure = plane.answers.steps.shift() ?? null;
      const step = {
        id: "stp_1",
        run_id: runId,
        step_type: "llm",
        status: plane.stepStatus,
        output: plane.applied.at(-1)?.body.output,
      };
      return failure === null ? ok([step as never]) : fail(failure);
    },
  };
  return plane;
}

export interface Line {
  level: "debug" | "info" | "warn" | "error";
  fields: Record<string, unknown>;
  message: string;
}

/** One whole worker over a store in memory and a control plane that guards nothing, in virtual time. */
export interface Scene {
  clock: VirtualClock;
  backend: StepBackend;
  plane: BarePlane;
  runtime: Runtime;
  lines: Line[];
  handler: { calls: number; fails: boolean; hangs: boolean; output: unknown };
  /** Delivers a job of run_1, step stp_1, after so many deliveries that ended in a death, and waits until all is quiet. */
  deliver(job: object, deliveries: number): Promise<void>;
  /** The job was taken by a worker that recorded this result and died. */
  leaveResult(result: StepResult): Promise<void>;
  /** Starts the worker over what is on the stream, and waits until all is quiet. */
  take(): Promise<void>;
  pass(ms: number): Promise<void>;
  /** Until nothing is left on the queue, or a quarter of an hour has passed. */
  rest(): Promise<void>;
  close(): Promise<void>;
}

const quiet = () => new Promise<void>((resolve) => setImmediate(resolve));

export async function startScene(
  name: string,
  given: {
    queueMs?: number;
    totalMs?: number;
    ports?: Partial<RuntimePorts>;
    wrap?: (backend: StepBackend) => Pick<RuntimePorts, "queue" | "store">;
    options?: Partial<RuntimeOptions>;
    handler?: StepHandler;
  } = {},
): Promise<Scene> {
  const clock = virtualClock();
  const path = `file:${name}?mode=memory&cache=shared`;
  const outside = await createSqliteBackend({ path, consumer: "outside", clock });
  const backend = await createSqliteBackend({ path, consumer: "worker", clock });
  const plane = barePlane();
  const lines: Line[] = [];
  const say = (level: Line["level"]) => (fields: object, message: string) =>
    void lines.push({ level, fields: fields as Record<string, unknown>, message });
  const log = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
  const handler: Scene["handler"] = {
    calls: 0,
    fails: false,
    hangs: false,
    output: { made: "it" },
  };
  const works: StepHandler = async ({ effect, signal }) => {
    handler.calls += 1;
    if (handler.hangs) {
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    }
    if (handler.fails) {
      return { kind: "failed", failure: { kind: "tool_failed", message: "no", retryable: false } };
    }
    const done = await effect({
      name: "pay",
      input: {},
      repeat: "unsafe",
      run: async () => ({ ok: true, value: handler.output as never }),
    });
    return done.ok ? { kind: "done", output: done.value } : done.result;
  };
  const work = given.handler ?? works;
  const options: RuntimeOptions = {
    ...defaultOptions,
    leaseMs: 3_000,
    maxDeliveries: 4,
    limits: { ...defaultOptions.limits, baseDelayMs: 100, maxDelayMs: 1_000 },
    allowlist: { allowed: ["look"], approvalRequired: [], denied: [] },
    deadlines: {
      ...defaultOptions.deadlines,
      queueMs: given.queueMs ?? null,
      totalMs: given.totalMs ?? null,
    },
    handlers: { llm: work, tool: work, retrieval: work, sandbox: work },
    ...given.options,
  };
  const tool = {
    name: "look",
    server: "own",
    digest: "d",
    address: "look",
    description: "",
    inputSchema: {},
    outputSchema: null,
    safeToRepeat: true,
    readOnly: true,
  };
  const wrapped = given.wrap?.(backend) ?? { queue: backend.queue, store: backend.store };
  const start = () =>
    startRuntime(
      {
        ...noNeighbours,
        tools: { ...noNeighbours.tools, describe: async () => ok(tool) },
        ...wrapped,
        clock,
        controlPlane: plane,
        log,
        ...given.ports,
      },
      options,
    );
  let runtime: Runtime | null = null;
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms;) {
      await quiet();
      await quiet();
      const next = Math.min(Math.max(clock.untilNext() ?? 1_000, 1), 500, ms - passed);
      clock.advance(next);
      passed += next;
    }
    await quiet();
    await quiet();
  };
  const rest = async () => {
    for (let passed = 0; passed < 15 * 60_000; passed += 500) {
      await pass(500);
      const { length } = await backend.queue.stats();
      if (length === 0 && runtime?.steps().length === 0) return;
    }
  };
  const publish = (job: object) => {
    const envelope = {
      id: "stp_1",
      payload: {
        run_id: "run_1",
        step_id: "stp_1",
        input: {},
        context: {},
        ...("stepType" in job ? { step_type: job.stepType } : {}),
        ...("input" in job ? { input: job.input } : {}),
      },
      created_at: "createdAt" in job ? job.createdAt : clock.now(),
    };
    return outside.queue.publish({ data: JSON.stringify(envelope) });
  };
  const take = async () => {
    runtime ??= start();
    await rest();
  };
  const scene: Omit<Scene, "runtime"> = {
    clock,
    backend,
    plane,
    lines,
    handler,
    async deliver(job, deliveries) {
      await publish(job);
      for (let dead = 1; dead < deliveries; dead += 1) {
        if (dead === 1) await outside.queue.read(1, 0, new AbortController().signal);
        else await outside.queue.claimStale(3_000, 1);
        clock.advance(3_001);
      }
      await take();
    },
    async leaveResult(result) {
      await publish({ stepType: "llm", input: { task: "pay" } });
      const [entry] = await outside.queue.read(1, 0, new AbortController().signal);
      if (entry === undefined) throw new Error("nothing was delivered");
      const key = { runId: "run_1", stepId: "stp_1" };
      const opening = await outside.store.open(entry.entryId, key, 3_000, entry.fields);
      if (opening.kind !== "opened") throw new Error(opening.kind);
      await outside.store.record(opening.lease, result, ["pending", "executing", "reported"]);
      clock.advance(3_001);
    },
    take,
    pass,
    rest,
    async close() {
      const stopping = runtime?.stop();
      await pass(12_000);
      await stopping;
      await backend.close();
      await outside.close();
    },
  };
  return Object.defineProperty(scene, "runtime", { get: () => runtime }) as Scene;
}
