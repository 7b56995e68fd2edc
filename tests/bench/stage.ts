/** What a bench stands on: a private Redis, the sink, and contenders, each in a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { freePort } from "../../adapters/redis/redis-process.ts";
import { requireRedisServer } from "../support/needs-redis.ts";
import type { FromSink, ToSink } from "./sink.ts";

const root = join(import.meta.dirname, "../..");

export interface Stage extends AsyncDisposable {
  redis: { url: string; client: Redis };
  sink: Sink;
  /** Temporary; goes with the stage. */
  folder: string;
  /** Starts our worker as a user would, with its log at the default level in a file. */
  startWorker(options: WorkerOptions): Contender;
  /** Starts another program of this folder. */
  startPeer(program: string, args: readonly string[], execArgv?: readonly string[]): Contender;
}

export interface WorkerOptions {
  concurrency: number;
  env?: Record<string, string>;
  execArgv?: readonly string[];
  /** After the command. */
  args?: readonly string[];
  /** The compiled program in dist/ instead of the sources. */
  isBuilt?: boolean;
}

export interface Sink {
  url: string;
  tell(message: ToSink): void;
  /** Reports are counted anew from when this resolves. */
  expect(reports: number): Promise<void>;
  next<K extends FromSink["kind"]>(
    kind: K,
    isIt?: (message: Extract<FromSink, { kind: K }>) => boolean,
  ): Promise<Extract<FromSink, { kind: K }>>;
}

export interface Contender {
  pid: number;
  child: ChildProcess;
  /** What it has written so far. */
  output(): string;
  /** Resolves when its output contains `text`; rejects when it ends before. */
  says(text: string): Promise<void>;
  usage(): Usage;
  /** On a processor, all threads together: to the nanosecond where {@link Usage.cpuMs} goes by ticks of ten milliseconds. */
  cpuNanos(): number;
  schedule(): Schedule;
  stop(): Promise<void>;
}

export interface Usage {
  rssBytes: number;
  peakRssBytes: number;
  cpuMs: number;
}

/** Of a process's main thread, milliseconds. */
export interface Schedule {
  ranMs: number;
  /** It had work, and another process had the processor. */
  waitedMs: number;
}

export async function openStage(): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-bench-"));
  const port = await freePort();
  const settings = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""];
  const binary = requireRedisServer("the bench");
  const server = spawn(binary, [...settings, "--appendonly", "yes"], { stdio: "ignore" });
  await once(server, "spawn");
  const url = `redis://127.0.0.1:${port}`;
  const client = new Redis(url, { retryStrategy: () => 20, maxRetriesPerRequest: null });
  client.on("error", () => {});
  await client.ping();
  const sink = await startSink();
  const contenders = new Set<Contender>();
  const start = (args: readonly string[], env: Record<string, string>): Contender => {
    const contender = startContender(args, env, folder);
    contenders.add(contender);
    return contender;
  };
  return {
    redis: { url, client },
    sink,
    folder,
    startWorker: ({ concurrency, env = {}, execArgv = [], args = [], isBuilt = false }) =>
      start([...execArgv, ...programOf(isBuilt), "worker", ...args], {
        REDIS_URL: url,
        CONTROL_PLANE_URL: sink.url,
        FD_API_KEY: "key",
        WORKER_CONCURRENCY: String(concurrency),
        STATEPLANE_DATA_DIR: folder,
        ...env,
      }),
    startPeer: (program, args, execArgv = []) =>
      start([...execArgv, join(import.meta.dirname, program), ...args], {}),
    async [Symbol.asyncDispose]() {
      await Promise.all([...contenders].map((contender) => contender.stop()));
      sink.close();
      client.disconnect();
      server.kill("SIGKILL");
      await once(server, "exit");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The compiled program, or a checkout's as npm's scripts start it. */
export const programOf = (isBuilt: boolean): string[] =>
  isBuilt
    ? [join(root, "dist/cli/bin.js")]
    : ["-r", join(root, "cli/checkout.cjs"), join(root, "cli/bin.ts")];

async function startSink() {
  const child = spawn(process.execPath, [join(import.meta.dirname, "sink.ts")], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  child.setMaxListeners(0);
  const next: Sink["next"] = (kind, isIt = () => true) => {
    const { promise, resolve } = Promise.withResolvers<Extract<FromSink, { kind: typeof kind }>>();
    const onMessage = (message: FromSink) => {
      if (message.kind !== kind || !isIt(message as never)) return;
      child.off("message", onMessage);
      resolve(message as never);
    };
    child.on("message", onMessage);
    return promise;
  };
  const { port } = await next("listening");
  return {
    url: `http://127.0.0.1:${port}`,
    tell: (message: ToSink) => void child.send(message),
    expect: async (reports: number) => {
      const expecting = next("expecting");
      child.send({ kind: "expect", reports } satisfies ToSink);
      await expecting;
    },
    next,
    close: () => void child.kill(),
  };
}

function startContender(
  args: readonly string[],
  env: Record<string, string>,
  folder: string,
): Contender {
  const file = join(folder, `output-${Math.random().toString(36).slice(2)}.log`);
  const log = openSync(file, "a");
  const child = spawn(process.execPath, [...args], {
    cwd: folder,
    env: { PATH: process.env["PATH"] ?? "", NODE_NO_WARNINGS: "1", ...env },
    stdio: ["ignore", log, log],
  });
  const pid = child.pid ?? 0;
  const output = () => readFileSync(file, "utf8");
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  return {
    pid,
    child,
    output,
    async says(text) {
      while (!output().includes(text)) {
        if (hasEnded()) throw new Error(`${args.join(" ")} ended:\n${output().slice(-2_000)}`);
        await sleep(2);
      }
    },
    usage: () => usageOf(pid),
    cpuNanos: () => cpuNanosOf(pid),
    schedule: () => scheduleOf(pid),
    async stop() {
      if (hasEnded()) return;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), 20_000);
      await ended;
      clearTimeout(force);
    },
  };
}

/** Rejects when it ends, and says what it wrote last; for races, whose others may end first. */
export function endsEarly(name: string, { child, output }: Contender): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  child.once("exit", () => reject(new Error(`${name} ended early:\n${output().slice(-2_000)}`)));
  promise.catch(() => {});
  return promise;
}

/** From proc(5): what a process takes, seen from outside, so that all contenders are measured alike. */
function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kib = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]);
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [user, system] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13);
  return {
    rssBytes: kib("VmRSS") * 1_024,
    peakRssBytes: kib("VmHWM") * 1_024,
    // Clock ticks are hundredths of a second on every Linux that Node runs on.
    cpuMs: (Number(user) + Number(system)) * 10,
  };
}

/** The first number of each thread's schedstat; Linux keeps it where it counts what its scheduler does. */
function cpuNanosOf(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  const times = readdirSync(tasks).map((task) =>
    Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]),
  );
  return times.reduce((sum, time) => sum + time, 0);
}

function scheduleOf(pid: number): Schedule {
  const [ran, waited] = readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ").map(Number);
  return { ranMs: (ran ?? Number.NaN) / 1e6, waitedMs: (waited ?? Number.NaN) / 1e6 };
}
