import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { getRequestListener } from "@hono/node-server";
import type { SchemasApart } from "../../../machines/contracts/ports/schema-checker.ts";
import type { Log } from "../../../machines/contracts/ports/clock.ts";
import type { WorkflowEngine } from "../../../machines/contracts/ports/workflow-engine.ts";
import { createApp, keepTime } from "./app.ts";
import type { Airlock } from "./changes/airlock.ts";
import { createApply, type KeptSteps, system, viewOf, type WholePlane } from "./changes/change.ts";
import { type AgentSeed, registerAgent } from "./changes/register-agent.ts";
import type { CostMicros } from "./changes/submit-result.ts";
import { keepHeadFile } from "./audit-head.ts";
import { databaseTrouble } from "./database-trouble.ts";
import { removeLeftovers } from "./leftovers.ts";
import { createNoticeSender } from "./notices/sender.ts";
import type { NoticeSettings } from "./notices/webhooks.ts";
import { callerOf } from "./routes/access.ts";
import type { EvalReports } from "./routes/eval-routes.ts";
import { createOutbox } from "./outbox.ts";
import { createRunEvents } from "./run-events.ts";
import { openStore } from "./store.ts";
import { createAlarm } from "./workflows/alarm.ts";
import { type OnWorkflowMove, WorkflowHost } from "./workflows/host.ts";

export interface EmbeddedOptions {
  /** A SQLite file, created when absent, or `:memory:`. */
  path: string;
  /** 0 for any free port. */
  port: number;
  host: string;
  apiKey: string;
  /** Registered at start, by slug. */
  agents: AgentSeed[];
  /** Puts an entry on the stream of jobs. */
  publish: (fields: Record<string, string>) => Promise<unknown>;
  /** Without it runs cost nothing, and no cost budget is ever exceeded. */
  costMicros?: CostMicros;
  /** Where people are told of what they are asked; without it nowhere. */
  notices?: NoticeSettings;
  /** Epoch milliseconds. */
  now?: () => number;
  /** Runs workflows; without it there are none. */
  workflows?: WorkflowEngine;
  /** Told each move of a workflow's run, which may yet be undone with its change. Must not throw. */
  onWorkflowMove?: OnWorkflowMove;
  /** Inspects the tool calls that are checked; without it, or where its mode is `off`, nothing does. */
  airlock?: Airlock;
  /** Holds arguments to the schemas that tools are registered with; without it nothing does. */
  schemas?: SchemasApart;
  /** The workers' store, to show what it has of steps and dead letters. */
  steps?: KeptSteps;
  /** Reports of evals to show; without it there are none. */
  evals?: EvalReports;
  /** Answers what is none of the API, such as a page; null for what it does not know. */
  site?: (request: Request) => Response | null;
  log: Log;
}

export interface EmbeddedControlPlane {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/** How often time is looked at while nobody calls. */
const everyMs = 15_000;
/** Workers and browsers hold some each; whoever opens more is refused, so that none of them costs memory. */
const mostConnections = 10_000;
/** How long open requests may take to end when we close. */
const graceMs = 1_000;

/**
 * Serves the control plane's HTTP API from a SQLite file of this machine.
 *
 * @throws PortTaken; Error when the key is empty, or the file is another process's or a later version's
 */
export async function startEmbeddedControlPlane(
  options: EmbeddedOptions,
): Promise<EmbeddedControlPlane> {
  if (options.apiKey === "") throw new Error("the embedded control plane: expected an API key");
  const { now = Date.now, log } = options;
  const store = openStore(options.path);
  removeLeftovers(options.path, log);
  let closed: Promise<void> | undefined;
  const events = createRunEvents();
  const outbox = createOutbox(store, options.publish, log);
  const look = (): void => {
    keepTime(plane)
      .then(() => alarm.set(store.progress.firstDue()))
      .catch((error: unknown) => {
        if (closed === undefined)
          log.error({ err: error }, "what is due and silent steps could not be looked at");
      });
  };
  const alarm = createAlarm(now, look);
  const workflows =
    options.workflows === undefined
      ? null
      : new WorkflowHost(options.workflows, store, (due) => alarm.set(due), options.onWorkflowMove);
  const { notices = { webhooks: [], publicUrl: null, remindBeforeMs: 0 } } = options;
  // Made below, once it is known where this control plane listens.
  let sender: ReturnType<typeof createNoticeSender> | null = null;
  const told = { settings: notices, kick: () => sender?.kick() };
  const isInspecting = options.airlock !== undefined && options.airlock.settings.mode !== "off";
  const airlock = isInspecting ? (options.airlock ?? null) : null;
  const { schemas = null } = options;
  const parts = { store, outbox, events, now, workflows, airlock, notices: told };
  const apply = createApply(parts);
  const costMicros = options.costMicros ?? (() => null);
  const headFile = keepHeadFile(options.path, store.audit, log);
  const { path, steps = null, evals = null, apiKey, host, site } = options;
  const plane: WholePlane = {
    store,
    rows: (c) => viewOf(store, callerOf(c)),
    apply,
    events,
    outbox,
    now,
    costMicros,
    headFile,
    path,
    workflows,
    airlock,
    schemas,
    steps,
    evals,
    notices,
  };
  const app = createApp(plane, { apiKey, host, publicUrl: notices.publicUrl, site, log });
  const server = createServer(getRequestListener(app.fetch));
  // Longer than a client keeps a connection that nobody uses: else a call meets the end of the one that it goes by.
  server.keepAliveTimeout = 75_000;
  // Of a request with its body: two mebibytes come in less, and what does not come must not be held for long.
  server.requestTimeout = 60_000;
  server.maxConnections = mostConnections;
  let port: number;
  try {
    await apply((change) => {
      for (const agent of options.agents) registerAgent(change, agent);
      workflows?.restart(change);
    }, system);
    port = await listen(server, options.port, options.host);
  } catch (error) {
    await headFile.close();
    store.close();
    const trouble = databaseTrouble(error, path);
    throw trouble === null ? error : new Error(trouble, { cause: error });
  }
  outbox.kick();
  const url = `http://${reachable(options.host)}:${port}`;
  const { publicUrl } = notices;
  sender = createNoticeSender(
    { store, apply, now, log },
    { ...notices, publicUrl: publicUrl ?? url },
  );
  sender.kick();
  alarm.set(store.progress.firstDue());
  const clock = setInterval(look, everyMs).unref();
  return {
    url,
    port,
    close: () => {
      clearInterval(clock);
      alarm.close();
      closed ??= closeServer(server, () => events.close()).then(async () => {
        await sender?.close();
        await outbox.close();
        await headFile.close();
        await schemas?.close();
        store.close();
      });
      return closed;
    },
  };
}

/** Somebody else listens where we were to. */
export class PortTaken extends Error {
  override readonly name = "PortTaken";

  constructor(port: number, host: string, cause: unknown) {
    const fix = "stop what listens there (another control plane?) or choose another port";
    super(`port ${port} on ${host} is taken; ${fix}`, { cause });
  }
}

async function listen(server: Server, port: number, host: string): Promise<number> {
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "EADDRINUSE") throw error;
    throw new PortTaken(port, host, error);
  }
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : port;
}

/** An address to call, for one to listen on. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}

async function closeServer(server: Server, endStreams: () => void): Promise<void> {
  const ended = once(server, "close");
  server.close();
  endStreams();
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  await ended;
  clearTimeout(timer);
}
