import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ControlPlaneApi, createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { seedIds } from "../../adapters/control-plane/embedded/documents.ts";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type { ChaosPlaneOptions } from "./control-plane.ts";
import { countResults, type Results } from "./count-results.ts";
import { startRedisPair } from "./redis-pair.ts";
import { type ProxyCounts, startFaultProxy } from "./fault-proxy.ts";
import { Ledger } from "./ledger.ts";
import { planStep, type StepKind } from "./plan-step.ts";
import { seeded } from "./random.ts";
import { type Child, spawnChild } from "./spawn-child.ts";
import { startTroop } from "./troop.ts";

export interface ChaosOptions {
  steps: number;
  workers: number;
  seed: number;
  /** Gives up after so long; what is not reported then is lost. */
  limitMs: number;
  leaseMs: number;
  /** The mean time between two blows to workers. */
  blowMs: number;
  /** How long the control plane is away, once. */
  awayMs: number;
  onProgress: (line: string) => void;
  signal: AbortSignal;
}

export interface ChaosReport extends Results {
  seed: number;
  workers: number;
  kills: number;
  pauses: number;
  /** Workers that ended by themselves. */
  fell: number;
  /** Of Redis. */
  restarts: number;
  /** How often the primary became a replica. */
  demotions: number;
  awayMs: number;
  calls: ProxyCounts;
  /** Jobs taken over from another worker whose lease had run out. */
  takeOvers: number;
  /** Writes that the store refused a worker whose lease was lost. */
  refusedWrites: number;
  deadLetters: number;
  /** Jobs still on the stream at the end. */
  left: number;
  seconds: number;
}

const prefix = "chaos:";
const stepsOfRun = 4;
/** Enough that no worker is ever idle, few enough that faults come in the middle of things. */
const runsAtOnce = 200;
/** What the steps do, in shares of a hundred. */
const mix: [StepKind, number][] = [
  ["retrieve", 22],
  ["look", 10],
  ["put", 22],
  ["post", 24],
  ["loop", 10],
  ["agent", 6],
  ["put-asked", 2],
  ["post-asked", 3],
  ["question", 1],
];

/** Runs steps through workers that die, sleep and lose their neighbours, and counts what came of it. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { signal, onProgress } = options;
  const random = seeded(options.seed);
  const started = performance.now();
  await using closing = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "stateplane-chaos-"));
  closing.defer(() => rm(folder, { recursive: true, force: true }));
  const redis = await startRedisPair(join(folder, "redis"));
  closing.defer(() => redis.stop());
  const apiKey = randomBytes(16).toString("hex");
  const path = join(folder, "control-plane.sqlite");
  const planeOptions: ChaosPlaneOptions = { path, apiKey, redisUrl: redis.url, prefix };
  const plane = spawnChild("control-plane.ts", "STATEPLANE_CHAOS_PLANE", planeOptions);
  closing.defer(() => plane.end());
  const planeUrl = String(await plane.ready);
  const proxy = await startFaultProxy(planeUrl, 0.1, random);
  closing.defer(() => proxy.close());
  // What the chaos program asks for itself goes past the proxy.
  const api = createControlPlaneApi({ url: planeUrl, apiKey, timeoutMs: 30_000 });
  closing.defer(() => api.close());
  const ledger = new Ledger(join(folder, "ledger.jsonl"));
  let ended = 0;
  const troop = startTroop({
    size: options.workers,
    blowMs: options.blowMs,
    random,
    progress: () => ended,
    worker: {
      redisUrl: redis.url,
      prefix,
      controlPlane: { url: proxy.url, apiKey },
      artifacts: join(folder, "artifacts"),
      ledger: ledger.path,
      leaseMs: options.leaseMs,
      capacity: 32,
      // Long beside all else, so that blows fall in mid-effect.
      effectMs: [20, 400],
      drainMs: 10_000,
      crash: null,
      traced: false,
    },
  });
  closing.defer(() => troop.end());

  const runs = Math.ceil(options.steps / stepsOfRun);
  let restarts = 0;
  let demotions = 0;
  let isKeyRefused = false;
  let isSentAway = false;
  let begun = 0;
  let shownAt = 0;
  const seconds = () => (performance.now() - started) / 1_000;
  while (ended < runs && seconds() * 1_000 < options.limitMs && !signal.aborted) {
    await approve(api);
    ended = await endedRuns(api);
    while (begun < Math.min(runs, ended + runsAtOnce)) {
      await beginRun(api, begun * stepsOfRun, options.steps, random);
      begun += 1;
    }
    const share = ended / runs;
    if (share > 0.25 && !isSentAway) {
      isSentAway = true;
      onProgress(`the control plane goes away for ${options.awayMs / 1_000} s`);
      proxy.goAway(options.awayMs);
    }
    if (share > 0.5 && restarts === 0) {
      restarts += 1;
      onProgress("Redis is killed and started again");
      await redis.restart(500);
    }
    if (share > 0.6 && !isKeyRefused) {
      isKeyRefused = true;
      onProgress("the control plane refuses the key for a second");
      proxy.refuseKeys(1_000);
    }
    if (share > 0.75 && demotions === 0) {
      demotions += 1;
      onProgress("Redis becomes a replica, and its replica the primary");
      await redis.demote();
    }
    if (seconds() - shownAt >= 2) {
      shownAt = seconds();
      const blows = `${troop.counts().kills} kills, ${troop.counts().pauses} pauses`;
      onProgress(`${ended} of ${runs} runs after ${shownAt.toFixed(0)} s; ${blows}`);
    }
    await sleep(100);
  }
  signal.throwIfAborted();
  proxy.mend();
  // The paused ones come back to a world that has gone on without them: now they could do harm.
  await troop.settle(options.leaseMs * 2);
  const { left, deadLetters } = await remains(redis.url);
  const blows = troop.counts();
  await stopPlane(plane);
  const lines = ledger.lines();
  const touches = lines.filter((line) => line.kind === "touch");
  const results = countResults(path, touches);
  return {
    ...results,
    // Those that there was no time left to order are as lost as any.
    steps: options.steps,
    lost: results.lost + options.steps - results.steps,
    seed: options.seed,
    workers: options.workers,
    ...blows,
    restarts,
    demotions,
    awayMs: isSentAway ? options.awayMs : 0,
    calls: proxy.counts(),
    takeOvers: lines.reduce((sum, line) => sum + (line.kind === "taken-over" ? line.jobs : 0), 0),
    refusedWrites: lines.filter((line) => line.kind === "refused" && line.write !== "renew").length,
    deadLetters,
    left,
    seconds: Math.round(seconds()),
  };
}

async function beginRun(
  api: ControlPlaneApi,
  from: number,
  until: number,
  random: () => number,
): Promise<void> {
  const kinds = Array.from({ length: Math.min(stepsOfRun, until - from) }, () => draw(random));
  const steps = kinds.map((kind, at) => planStep(kind, `order-${from + at}`));
  must(await api.createRun({ agentId: "chaos", input: {}, steps }, forever));
}

function draw(random: () => number): StepKind {
  let left = random() * 100;
  for (const [kind, share] of mix) {
    left -= share;
    if (left < 0) return kind;
  }
  return "retrieve";
}

const forever = new AbortController().signal;

/** The person: says yes to everything, within a moment. */
async function approve(api: ControlPlaneApi): Promise<void> {
  const open = must(await api.approvals(1_000, forever));
  // One that was answered meanwhile, or whose step has ended, is no trouble.
  await Promise.all(open.map(({ id }) => api.resolveApproval(id, true, null, forever)));
}

async function endedRuns(api: ControlPlaneApi): Promise<number> {
  let ended = 0;
  for (const status of ["completed", "failed"]) {
    const path = `/v1/runs?project_id=${seedIds.project}&status=${status}&limit=1`;
    const { body } = must(await api.http.call({ method: "GET", path }, forever));
    ended += (body as { total: number }).total;
  }
  return ended;
}

async function remains(url: string): Promise<{ left: number; deadLetters: number }> {
  const backend = await createRedisBackend({ url, prefix, consumer: "chaos" });
  const { length, deadLetters } = await backend.queue.stats();
  await backend.close();
  return { left: length, deadLetters };
}

async function stopPlane(plane: Child): Promise<void> {
  plane.signal("SIGTERM");
  await plane.exited;
}

function must<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(`the chaos program's own call: ${outcome.failure.message}`);
}
