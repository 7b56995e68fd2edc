import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { ToolDescription, ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { defaultOptions } from "../../actors/options.ts";
import { seeded } from "../chaos/random.ts";
import { redisBackends } from "../support/backends.ts";
import { composeWorker, type TestWorker } from "../support/compose-worker.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { misanswering } from "./misanswers.ts";
import { endless, oddTexts, planRun, type PlannedRun } from "./plan-run.ts";

export interface FerrumDeckOptions {
  runs: number;
  workers: number;
  seed: number;
  /** The share of calls that a proxy answers in the gateway's place. */
  misanswered: number;
  limitMs: number;
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
}

export interface FerrumDeckReport {
  runs: number;
  misanswered: { before: number; after: number };
  /** One line for each broken promise, naming its run. */
  faults: string[];
  ms: number;
}

/** So long a question waits for a person. */
const approvalMs = 10_000;
/** Runs under way at a time: the stand-in and the workers share this process. */
const atATime = 60;

/**
 * Runs many runs through real workers on a real Redis, against a gateway that guards nothing, behind a proxy that
 * misanswers; and finds each run that did not end as it had to, or went on after its end, or had an effect too often.
 */
export async function runFerrumDeck(options: FerrumDeckOptions): Promise<FerrumDeckReport> {
  const began = performance.now();
  const room = `fd${options.seed}`;
  const draw = seeded(options.seed);
  const proxy = misanswering(draw, options.misanswered);
  const effects = new Map<string, number>();
  const had = (ref: unknown) => effects.set(String(ref), (effects.get(String(ref)) ?? 0) + 1);
  const folder = await mkdtemp(join(tmpdir(), "stateplane-ferrumdeck-"));
  const redis = redisBackends();
  await redis.start();
  const stream = await redis.backend(room);
  const gateway = await startFerrumDeckGateway({
    verdicts: { read: "allow", write: "allow" },
    publish: (fields) => void stream.queue.publish(fields),
    failing: proxy.failing,
    altering: proxy.altering,
  });
  const workers: TestWorker[] = [];
  const faults: string[] = [];
  try {
    for (let worker = 0; worker < options.workers; worker++) {
      workers.push(await startWorker(redis, room, gateway, folder, had));
    }
    const deadline = performance.now() + options.limitMs;
    let next = 0;
    const lane = async () => {
      while (next < options.runs && options.signal?.aborted !== true) {
        const run = planRun(next++, room);
        const fault = await follow(run, gateway, effects, deadline);
        if (fault !== null) faults.push(`${run.runId} ${run.stepType} ${run.fate}: ${fault}`);
        if (next % 100 === 0) options.onProgress?.(`${next} runs begun, ${faults.length} faults`);
      }
    };
    await Promise.all(Array.from({ length: Math.min(atATime, options.runs) }, lane));
    faults.push(...(await leftovers(stream, deadline)));
    // What comes after all have ended changes nothing: it is looked at once more.
    for (let number = 0; number < next; number++) {
      const run = planRun(number, room);
      const fault = afterlife(run, gateway);
      if (fault !== null) faults.push(`${run.runId} ${run.stepType} ${run.fate}: ${fault}`);
    }
    return {
      runs: next,
      misanswered: { ...proxy.counts },
      faults: [...new Set(faults)],
      ms: performance.now() - began,
    };
  } finally {
    await Promise.all(workers.map((worker) => worker.close()));
    await stream.close();
    await gateway.close();
    await redis.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function startWorker(
  redis: ReturnType<typeof redisBackends>,
  room: string,
  gateway: FerrumDeckGateway,
  artifacts: string,
  had: (ref: unknown) => void,
): Promise<TestWorker> {
  const backend = await redis.backend(room);
  const worker = composeWorker({
    backend,
    controlPlane: gateway,
    artifacts,
    keepsNotices: false,
    options: {
      capacity: 32,
      leaseMs: 10_000,
      allowlist: { allowed: ["read", "erase"], approvalRequired: ["write"], denied: [] },
      deadlines: { ...defaultOptions.deadlines, approvalMs },
      limits: { ...defaultOptions.limits, baseDelayMs: 50, maxDelayMs: 500 },
    },
    ports: { models: models(had), tools: tools(had) },
  });
  const { close } = worker;
  return {
    ...worker,
    async close() {
      await close();
      await backend.close();
    },
  };
}

const models = (had: (ref: unknown) => void): ModelProvider => ({
  async complete({ messages, model }, signal) {
    const task = messages.at(-1)?.content ?? "";
    if (task.includes(endless)) {
      await sleep(60_000, undefined, { signal }).catch(() => {});
      return fail(terminal("cancelled", "told to stop"));
    }
    had(`model ${task}`);
    const odd = oddTexts.find((text) => task.includes(text)) ?? "plain";
    return ok({
      provider: "test",
      model,
      content: odd,
      toolCalls: [],
      finishReason: "stop" as const,
      usage: { inputTokens: 10, outputTokens: 1 },
    });
  },
});

const described = (name: string): ToolDescription => ({
  server: "files",
  name,
  address: name,
  digest: "0".repeat(64),
  description: "",
  inputSchema: { type: "object" },
  outputSchema: null,
  safeToRepeat: name === "read",
  readOnly: name === "read",
});

const tools = (had: (ref: unknown) => void): ToolHost => ({
  list: async () => ok(["read", "write", "erase"].map(described)),
  describe: async (name) => ok(described(name)),
  async call(target, input) {
    had(input["ref"]);
    return ok({ server: target.server, content: { wrote: input["odd"] ?? null } });
  },
  close: async () => {},
});

/** Brings one run to its end, with what its fate brings. Null when all was right. */
async function follow(
  run: PlannedRun,
  gateway: FerrumDeckGateway,
  effects: ReadonlyMap<string, number>,
  deadline: number,
): Promise<string | null> {
  const { runId, stepId, stepType, input, fate } = run;
  const job = { runId, stepId, stepType, input };
  const status = () => String(gateway.run(runId)?.["status"]);
  const step = () => String(gateway.steps(runId)[0]?.["status"]);
  const until = async (what: string, test: () => boolean): Promise<string | null> => {
    while (!test()) {
      if (performance.now() > deadline) return `hangs: ${what}; the run is ${status()}`;
      await sleep(10);
    }
    return null;
  };
  const isEnded = () => run.mayEnd.includes(status());

  if (fate === "cancelled-queued") gateway.cancelAndEnqueue(job);
  else gateway.enqueue(job);
  if (fate === "doubled") gateway.republish(job);
  if (fate === "cancelled-working") {
    await sleep(300);
    gateway.cancel(runId);
  }
  if (["cancelled-parked", "approved", "rejected", "expired"].includes(fate)) {
    const asked = await until("no person is asked", () => step() === "waitingapproval");
    if (asked !== null) return asked;
    // The report that it waits comes a moment before it is parked: both ends of that moment are tried.
    if (runId.length % 2 === 0) await sleep(50);
    if (fate === "approved") gateway.approve(runId, stepId);
    if (fate === "rejected") gateway.reject(runId, stepId);
    if (fate === "expired") gateway.expire(runId);
    if (fate === "cancelled-parked") gateway.cancel(runId);
  }
  const hung = await until(`expected ${run.mayEnd.join(" or ")}`, isEnded);
  if (hung !== null) {
    const said = JSON.stringify(gateway.steps(runId)[0]?.["error"])?.slice(0, 200);
    return `${hung}; its history is ${gateway.history(runId).join(", ")}; its step says ${said}`;
  }
  if (fate === "redelivered") {
    gateway.republish(job);
    await sleep(100);
  }
  const count = effects.get(runId) ?? effects.get(`model ${runId}`) ?? 0;
  const { least, most } = run.effects;
  if (stepType === "tool" && (count < least || count > most)) {
    return `its effect was had ${count} times, expected ${least} to ${most}`;
  }
  return null;
}

/** A run that went on after its end, or was booked twice. */
function afterlife(run: PlannedRun, gateway: FerrumDeckGateway): string | null {
  const history = [...gateway.history(run.runId)];
  // The gateway blocks a run in the very answer that denies its step; the step's own report is still owed.
  if (history.at(-2) === "policyblocked" && history.at(-1) === "failed") history.pop();
  const end = history.findIndex((status) => endings.has(status));
  if (end !== history.length - 1) return `it went on after its end: ${history.join(", ")}`;
  const tokens = Number(gateway.run(run.runId)?.["input_tokens"]);
  return tokens > 10 ? `its tokens were booked ${tokens / 10} times` : null;
}

const endings = new Set(["completed", "failed", "cancelled", "budgetkilled", "policyblocked"]);

/** Jobs still on the stream, and letters, when all runs have ended. */
async function leftovers(
  stream: Awaited<ReturnType<ReturnType<typeof redisBackends>["backend"]>>,
  deadline: number,
): Promise<string[]> {
  for (;;) {
    const { length, pending } = await stream.queue.stats();
    if (length === 0 && pending === 0) break;
    if (performance.now() > deadline) return [`${length} jobs are left, ${pending} of them taken`];
    await sleep(100);
  }
  // Questions that nobody closed end at their deadline, and then nothing may be reported.
  await sleep(approvalMs + 1_000);
  const letters = await stream.queue.deadLetters(100);
  return letters.map(
    ({ reason, fields }) => `dead letter: ${reason} ${fields["data"]?.slice(0, 60)}`,
  );
}
