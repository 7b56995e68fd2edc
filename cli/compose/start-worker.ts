import type { UsersHandlers } from "../../actors/handlers/handler.ts";
import {
  type Allowlist,
  defaultOptions,
  defaultScreening,
  type RuntimeOptions,
  type ScreeningOptions,
} from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import type { Runtime } from "../../actors/runtime.ts";
import { ok } from "../../machines/contracts/domain/failure.ts";
import { makeInputShapes } from "../../machines/contracts/domain/step-input.ts";
import { compileRules } from "../../machines/contracts/domain/screening/injection.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { runView } from "../../machines/contracts/wire/views.ts";
import type { Config } from "../config/load-config.ts";
import { airlockOf } from "../config/named-settings.ts";
import type { Settings } from "../config/settings.ts";
import { chooseStore, type ChosenStore } from "./choose-store.ts";
import { canLook, lookAtTools, refuseAmbiguous, type ShownServer } from "./look-at-tools.ts";
import { combinationWarnings } from "./combination-warnings.ts";
import { type ChosenTools, chooseTools } from "./choose-tools.ts";
import { artifactWarnings, composePorts } from "./compose-ports.ts";
import { createTextTeller } from "../../adapters/control-plane/text-teller.ts";
import type { Inspecting, Inspector } from "./start-inspector.ts";
import { startMonitoring } from "./monitoring.ts";
import { findSandbox } from "../../adapters/sandbox/find.ts";
import { sandboxOptions } from "../config/sandbox-settings.ts";
import { learnSecrets, secrets } from "../secrets.ts";
import { consumerName } from "../supervise-processes.ts";

/** What a program of its own may add to what the configuration says. */
export interface WorkerHooks {
  env: Readonly<Record<string, string | undefined>>;
  log: Log;
  onStepEvent?: NonNullable<RuntimeOptions["onStepEvent"]>;
  onJobs?: NonNullable<RuntimeOptions["onJobs"]>;
  onModelPart?: NonNullable<RuntimeOptions["onModelPart"]>;
  inspect?: NonNullable<RuntimeOptions["inspect"]>;
  /** Serves the inspector's page, as `--inspect` does. */
  inspector?: boolean;
  /** Neighbours in place of the configured ones. */
  ports?: Partial<RuntimePorts>;
  /** SQLite keeps its state in memory, for a data plane that is thrown away when it ends. */
  isInMemory?: boolean;
}

export interface Worker extends AsyncDisposable {
  readonly runtime: Runtime;
  readonly ports: RuntimePorts;
  readonly store: ChosenStore;
  readonly tools: ChosenTools;
  /** Where the machines can be looked at, where that was asked for and could be had. */
  readonly inspector: Inspector | null;
  /** Why there is none, where one was asked for. */
  readonly inspectorProblem: string | null;
  /** The MCP servers as they were at the start. */
  readonly servers: readonly ShownServer[];
  /** Lets steps finish for up to `drainMs` of the settings, hands the rest back, and closes everything. */
  close(): Promise<void>;
  /** Hands back what is left, now; makes a `close` under way quick. */
  hurry(): void;
}

/**
 * Composes a worker from its configuration, and starts it.
 *
 * @param findControlPlane called once the store is open
 * @throws InvalidSetting for a setting that can't be used, StoreUnreachable when the store can't be reached
 */
export async function startWorker(
  config: Pick<Config, "settings" | "sources"> & Partial<Pick<Config, "file">>,
  hooks: WorkerHooks,
  findControlPlane: (
    store: ChosenStore,
    tools: ChosenTools,
    closing: Closing,
    inspecting: Inspecting | null,
  ) => Promise<{ url: string; apiKey: string }>,
): Promise<Worker> {
  const { settings } = config;
  learnSecrets(settings, hooks.env);
  const closing = new Closing(hooks.log);
  try {
    const monitoring = await startMonitoring(config, hooks.log, closing, hooks.env);
    // Tried while the store is opened: it is the work of other processes, and takes as long.
    const opened = Promise.withResolvers<void>();
    const log = sayingAfter(opened.promise, hooks.log);
    const sandbox = findSandbox({ log, ...sandboxOptions(settings) });
    sandbox.catch(() => {});
    const tools = await chooseTools(config, hooks.env);
    const store = await chooseStore(config, consumerName(settings.workerName), {
      isInMemory: hooks.isInMemory === true,
      log: hooks.log,
    });
    opened.resolve();
    closing.add("store", () => store.close(), storePatienceMs);
    const inspecting =
      hooks.inspector === true
        ? (await import("./start-inspector.ts")).prepareInspector(config, hooks.log)
        : null;
    const controlPlane = await findControlPlane(store, tools, closing, inspecting);
    const composed = {
      config,
      env: hooks.env,
      backend: store.backend,
      controlPlane,
      tools,
      sandbox,
      log: hooks.log,
      closing,
    };
    const ports = { ...(await composePorts(composed)), ...hooks.ports };
    const warnings = [
      ...store.backend.warnings,
      ...(await artifactWarnings(config, ports)),
      ...policyWarnings(settings),
    ];
    for (const warning of warnings) hooks.log.warn({}, warning);
    const servers = await lookAtStart(ports.tools, tools, config);
    for (const warning of combinationWarnings(settings, servers)) hooks.log.warn({}, warning);
    const options = {
      ...runtimeOptions(settings, tools.allowlist),
      ...(hooks.onStepEvent ? { onStepEvent: hooks.onStepEvent } : {}),
      ...(hooks.onJobs ? { onJobs: hooks.onJobs } : {}),
      onModelPart: tellingWatchers(ports, hooks, closing),
      ...(hooks.inspect ? { inspect: hooks.inspect } : {}),
    };
    const inspection = inspecting === null ? null : inspecting.watch(options);
    const runtime = await monitoring.start(ports, inspection ?? options);
    inspecting?.attach(runtime.inspection);
    const served = (await inspecting?.serve(store.backend.store, closing)) ?? null;
    void store.lost.then((why) => runtime.giveUp(why));
    const drain = () => runtime.drain(settings.drainMs);
    closing.add("steps", drain, settings.drainMs + unwindMs);
    workWhenIdle(makeShapesOfSteps(), 0, closing);
    if (options.screening?.injection !== "off") workWhenIdle(compileRules(), 1_000, closing);
    const close = () => closing.close();
    const hurry = () => void runtime.drain(0);
    return {
      runtime,
      ports,
      store,
      tools,
      ...(served !== null && "problem" in served
        ? { inspector: null, inspectorProblem: served.problem }
        : { inspector: served, inspectorProblem: null }),
      servers,
      close,
      hurry,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await closing.close();
    throw error;
  }
}

/** What is found out beside the start is said once the store is open: a start that fails says why, and nothing else. */
function sayingAfter(opened: Promise<void>, log: Log): Log {
  const say =
    (level: keyof Log): Log[keyof Log] =>
    (fields, message) =>
      void opened.then(() => log[level](fields, message));
  return { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
}

/** Of what every step looks at, and of the input of each type. */
function* makeShapesOfSteps(): Generator<void, void> {
  runView();
  yield;
  yield* makeInputShapes();
}

/**
 * What steps need and a start does not, once that is over and a little at a time: a job that comes meanwhile waits for one
 * piece at most.
 */
export function workWhenIdle(
  pieces: Iterator<void, void>,
  afterMs: number,
  closing: Pick<Closing, "add">,
): void {
  const go = () => {
    if (pieces.next().done !== true) timer = setTimeout(go, 20).unref();
  };
  let timer = setTimeout(go, afterMs).unref();
  closing.add("work put off at the start", async () => clearTimeout(timer));
}

/** What models say goes to those who watch their runs at the control plane, and to the program's own listener. */
function tellingWatchers(
  { controlPlane }: Pick<RuntimePorts, "controlPlane">,
  { onModelPart }: WorkerHooks,
  closing: Closing,
): NonNullable<RuntimeOptions["onModelPart"]> {
  const watchers = createTextTeller(
    async (texts, signal) => (await controlPlane.tellTexts?.(texts, signal)) ?? ok(null),
  );
  closing.add("streamed text", async () => watchers.close());
  return async (notice) => {
    const { runId, stepId, part } = notice;
    if (part.type === "text") watchers.tell({ runId, stepId, text: part.text });
    else if (part.type === "broken" || part.type === "restart") {
      watchers.tell({ runId, stepId, text: "", restart: true });
    }
    await onModelPart?.(notice);
  };
}

/**
 * Looks at the MCP servers before the first job is taken, for a bounded time: a server that is slower is used when it
 * answers.
 *
 * @throws InvalidSetting for a list that names a tool which two servers have
 */
async function lookAtStart(
  host: ToolHost,
  tools: ChosenTools,
  { settings, sources }: Pick<Config, "settings" | "sources">,
): Promise<ShownServer[]> {
  if (!canLook(host)) return [];
  const signal = AbortSignal.timeout(Math.min(settings.mcpTimeoutMs, lookMs));
  const servers = await lookAtTools(host, tools, signal, true);
  const source = settings.allowlist === undefined ? sources.mcpConfigPath : sources.allowlist;
  refuseAmbiguous(servers, tools.allowlist, source);
  return servers;
}

/** How long a start waits for MCP servers, milliseconds; one that is first fetched from a registry takes some. */
const lookMs = 15_000;

/** What about the settings leaves tool calls to this worker's lists, a whole sentence each. */
export function policyWarnings({
  toolPolicy,
  failClosed,
}: Pick<Settings, "toolPolicy" | "failClosed">): string[] {
  return [
    ...(toolPolicy === "worker"
      ? [
          "STATEPLANE_TOOL_POLICY=worker: the control plane is not asked about any tool call, this worker's lists alone decide; unset it for a control plane that judges tools",
        ]
      : []),
    ...(failClosed === "off"
      ? [
          "AGENTIC_FAIL_CLOSED is off: while the control plane can't be asked, agents' tool calls go by this worker's lists alone",
        ]
      : []),
  ];
}

/** The worker's options as its settings say. */
export function runtimeOptions(settings: Settings, allowlist: Allowlist): RuntimeOptions {
  const { limits, deadlines } = defaultOptions;
  const { policy, handlers } = settings;
  return {
    ...defaultOptions,
    capacity: settings.concurrency,
    bulkheads: { ...settings.bulkheads },
    screening: screeningOf(settings),
    knownSecrets: secrets,
    spans: {
      hasContent: settings.captureContent === "yes",
      hasFerrumdeckNames: settings.ferrumdeckSpans === "yes",
    },
    leaseMs: settings.leaseMs,
    maxDeliveries: settings.maxDeliveries,
    limits: {
      ...limits,
      maxAttempts: settings.maxRetries + 1,
      baseDelayMs: settings.retryDelayMs,
      maxDelayMs: Math.max(limits.maxDelayMs, settings.retryDelayMs),
    },
    deadlines: { ...deadlines, ...settings.deadlines },
    allowlist,
    inDoubt: settings.inDoubt,
    toolPolicy: settings.toolPolicy,
    failClosed: settings.failClosed === "on",
    keepJournals: settings.keepJournals === "on",
    airlock: airlockOf(settings),
    maxIterations: settings.maxIterations,
    defaultModel: settings.defaultModel,
    ...(policy ? { policy } : {}),
    ...(handlers ? { handlers: given(handlers) } : {}),
  };
}

/** The defaults, with what the configuration says of single rules in their place. */
function screeningOf({ screening = {} }: Settings): ScreeningOptions {
  const { output = {}, linkHosts, ...input } = screening;
  const usual = defaultScreening.output;
  return {
    ...defaultScreening,
    ...input,
    output: {
      rules: { ...usual.rules, ...output },
      linkHosts: linkHosts ?? usual.linkHosts,
    },
  };
}

function given(handlers: NonNullable<Settings["handlers"]>): UsersHandlers {
  return Object.fromEntries(
    Object.entries(handlers).filter(([, handler]) => handler !== null),
  ) as UsersHandlers;
}

/** What steps may take to abort their work and be released, once told to. */
const unwindMs = 10_000;
/** A private Redis writes its append-only file before it ends. */
const storePatienceMs = 20_000;

/** How long one neighbour may take to close before we go on without it, milliseconds. */
const patienceMs = 5_000;

/**
 * What was opened, to be closed in the reverse order. A neighbour that fails to close, or takes too long, is
 * named in the log and does not keep the others open.
 */
export class Closing implements AsyncDisposable {
  readonly #opened: { what: string; close: () => Promise<unknown>; withinMs: number }[] = [];
  readonly #log: Log;
  #closed: Promise<void> | null = null;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param withinMs how long this one may take, where the usual 5 s are not enough */
  add(what: string, close: () => Promise<unknown>, withinMs = patienceMs): void {
    this.#opened.push({ what, close, withinMs });
  }

  /** Closes everything, once; never rejects. */
  close(): Promise<void> {
    this.#closed ??= this.#closeAll();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #closeAll(): Promise<void> {
    for (const { what, close, withinMs } of this.#opened.toReversed()) {
      const { promise: expired, resolve } = Promise.withResolvers<"late">();
      const timer = setTimeout(() => resolve("late"), withinMs);
      try {
        const how = await Promise.race([close(), expired]);
        if (how === "late") this.#log.warn({ what, withinMs }, "did not close in time");
      } catch (error) {
        this.#log.warn({ err: error, what }, "failed to close");
      } finally {
        clearTimeout(timer);
      }
    }
  }
}
