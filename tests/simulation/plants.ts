import type { RuntimeOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import type { ControlPlaneHttp } from "../../adapters/control-plane/http.ts";
import type { ControlPlane } from "../../machines/contracts/ports/control-plane.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { Lease, StepStore } from "../../machines/contracts/ports/step-backend.ts";

import type { SharedDatabase } from "./database.ts";
import { loopPlants } from "./loop-plants.ts";
import { firstToolbox } from "./neighbours.ts";
import { callOf } from "./plane-http.ts";

/** The newest lease of every step and the store that holds it, over all workers of one history. */
export type Leases = Map<string, { lease: Lease; store: StepStore }>;

export interface Plant {
  /** The bug, as its author would have to admit it. */
  bug: string;
  store?: (store: StepStore, leases: Leases) => StepStore;
  controlPlane?: (controlPlane: ControlPlane) => ControlPlane;
  http?: (http: ControlPlaneHttp) => ControlPlaneHttp;
  /** What the store's tables lose after a step was opened, or its dead letter put back. */
  meddle?: (database: SharedDatabase, when: "opened" | "retried", step: StepKey) => void;
  /** All of a worker's neighbours and options at once. */
  worker?: (ports: RuntimePorts, options: RuntimeOptions) => Wired;
}

interface Wired {
  ports: RuntimePorts;
  options: RuntimeOptions;
}

/**
 * Bugs that the simulation must find, put between the product and its neighbours: production code has no place
 * for them. Each breaks one mechanism that a promise rests on.
 */
const known = {
  "no-fence": {
    bug: "a worker that lost its lease can still write",
    store: (store: StepStore, leases: Leases): StepStore => ({
      ...store,
      async open(entryId, key, leaseMs, fields) {
        const opening = await store.open(entryId, key, leaseMs, fields);
        if (opening.kind === "opened") leases.set(key.stepId, { lease: opening.lease, store });
        return opening;
      },
      append: (lease, entries) =>
        anyway(leases, store, lease, (to, newest) => to.append(newest, entries)),
      record: (lease, result, path) =>
        anyway(leases, store, lease, (to, newest) => to.record(newest, result, path)),
      park: (lease, parking) =>
        anyway(leases, store, lease, (to, newest) => to.park(newest, parking)),
      settle: (lease, ending) =>
        anyway(leases, store, lease, (to, newest) => to.settle(newest, ending)),
    }),
  },
  "no-journal": {
    bug: "the journal forgets what it is told",
    store: (store: StepStore): StepStore => ({ ...store, append: async () => "written" }),
  },
  "grant-reuse": {
    bug: "the journal does not keep which grant an effect spent",
    store: (store: StepStore): StepStore => ({
      ...store,
      append: (lease, entries) =>
        store.append(
          lease,
          entries.map((entry) => {
            if (entry.event !== "begun") return entry;
            return { event: entry.event, effect: entry.effect, at: entry.at };
          }),
        ),
    }),
  },
  "double-report": {
    bug: "a report sent again carries a new idempotency key",
    controlPlane(controlPlane) {
      let sent = 0;
      return {
        ...controlPlane,
        report(report, signal) {
          sent += 1;
          const idempotencyKey = `${report.idempotencyKey}/${report.fence}/${sent}`;
          return controlPlane.report({ ...report, idempotencyKey }, signal);
        },
      };
    },
  },
  "no-timer": {
    bug: "a parked step is not woken when its time has come",
    store: (store: StepStore): StepStore => ({
      ...store,
      park: (lease, parking) => store.park(lease, { ...parking, wakeAt: null }),
    }),
  },
  "resume-without-check": {
    bug: "what was allowed once is not asked again, not even by the worker's own list",
    worker(ports, options) {
      const first = firstAnswers();
      const { controlPlane } = ports;
      return {
        ports: {
          ...ports,
          controlPlane: {
            ...controlPlane,
            checkTool: (check, signal) =>
              first(`${check.runId} ${JSON.stringify(check.toolInput)}`, () =>
                controlPlane.checkTool(check, signal),
              ),
            run: (runId, signal) => first(runId, () => controlPlane.run(runId, signal)),
          },
        },
        options: { ...options, allowlist: { ...options.allowlist, denied: [] } },
      };
    },
  },
  "verdict-outlives-wait": {
    bug: "what the control plane said of a tool is good for three seconds, whatever was waited for since",
    worker(ports, options) {
      const { controlPlane, clock } = ports;
      const kept = new Map<string, { at: number; said: ReturnType<ControlPlane["checkTool"]> }>();
      return {
        options,
        ports: {
          ...ports,
          controlPlane: {
            ...controlPlane,
            checkTool(check, signal) {
              const earlier = kept.get(`${check.callId}`);
              if (earlier !== undefined && clock.monotonic() - earlier.at <= 3_000)
                return earlier.said;
              const said = controlPlane.checkTool(check, signal);
              kept.set(`${check.callId}`, { at: clock.monotonic(), said });
              return said;
            },
          },
        },
      };
    },
  },
  "list-by-spelling": {
    bug: "the lists are compared with the name as it is spelt, not with what it means",
    worker(ports, options) {
      const { tools } = ports;
      return {
        options,
        ports: {
          ...ports,
          tools: {
            ...tools,
            async describe(name, signal) {
              const found = await tools.describe(name, signal);
              return found.ok ? ok({ ...found.value, name: bareName(name), server: "" }) : found;
            },
            async call(target, ...rest) {
              const found = await tools.describe(bareName(target.name), rest[1]);
              return found.ok ? tools.call(found.value, ...rest) : found;
            },
          },
        },
      };
    },
  },
  "approval-by-name": {
    bug: "an approval names neither the server nor the schema of its tool",
    worker(ports, options) {
      const { tools } = ports;
      const { server } = firstToolbox;
      return {
        options,
        ports: {
          ...ports,
          tools: {
            ...tools,
            async describe(name, signal) {
              const found = await tools.describe(bareName(name), signal);
              return found.ok ? ok({ ...found.value, server, digest: "", inputSchema: {} }) : found;
            },
            async call(target, ...rest) {
              const found = await tools.describe(target.name, rest[1]);
              return found.ok ? tools.call(found.value, ...rest) : found;
            },
          },
        },
      };
    },
  },
  "yes-is-forgotten": {
    bug: "a step that is put away after a person's yes comes back without it",
    store: (store: StepStore): StepStore => ({
      ...store,
      park: (lease, parking) =>
        store.park(lease, { ...parking, snapshot: withoutGrants(parking.snapshot) }),
    }),
  },
  "ended-not-looked-at": {
    bug: "whether run and step have ended is not looked at",
    controlPlane: (controlPlane) => ({
      ...controlPlane,
      async run(runId, signal) {
        const run = await controlPlane.run(runId, signal);
        return run.ok ? ok({ ...run.value, status: "running" as const }) : run;
      },
      steps: async () => ok([]),
    }),
  },
  "trouble-is-final": {
    bug: "a control plane that can't be reached is taken for one that refuses",
    controlPlane: (controlPlane) => ({
      ...controlPlane,
      run: async (...args) => final(await controlPlane.run(...args)),
      checkTool: async (...args) => final(await controlPlane.checkTool(...args)),
    }),
  },
  "repeats-after-failed-keep": {
    bug: "an effect whose result can't be kept at once is given up, and so repeated",
    worker: (ports, options) => ({
      options,
      ports: {
        ...ports,
        store: {
          ...ports.store,
          async append(lease, entries, durable) {
            const writing = ports.store.append(lease, entries, durable);
            if (!entries.some(({ event }) => event === "completed")) return writing;
            return writing.catch((error: unknown) => {
              if (error instanceof StoreError) return "lease-lost" as const;
              throw error;
            });
          },
        },
      },
    }),
  },
  "any-answer-accepts": {
    bug: "whatever answers a report has accepted it",
    http: (http) => ({
      ...http,
      async call(request, signal) {
        const answer = await http.call(request, signal);
        const isAnswered = answer.ok || answer.failure.details?.["status"] !== undefined;
        if (callOf(request) !== "report" || !isAnswered) return answer;
        const [, , , runId, , stepId] = request.path.split("/");
        const { status } = request.body as { status: string };
        const body = { id: stepId, run_id: runId, step_type: "tool", status };
        return ok({ call: "POST", status: 200, headers: {}, body });
      },
    }),
  },
  "letter-forgets-journal": {
    bug: "a dead letter that is put back has forgotten what its step did",
    meddle(database, when, step) {
      if (when === "retried") database.forgetJournal(step);
    },
  },
  "no-letter": {
    bug: "a refused result is settled without a dead letter",
    store: (store) => ({
      ...store,
      settle: (lease, ending) => store.settle(lease, { ...ending, deadLetter: null }),
    }),
  },
  "vanished-entry": {
    bug: "nothing remembers a job whose entry has vanished from the stream",
    meddle(database, when) {
      if (when === "opened") database.forgetOpenJobs();
    },
  },
  "worker-clock-expiry": {
    bug: "each worker's own clock says when an approval has expired",
    worker(ports, options) {
      const { controlPlane, clock } = ports;
      return {
        options,
        ports: {
          ...ports,
          controlPlane: {
            ...controlPlane,
            async findApproval(id, signal) {
              const found = await controlPlane.findApproval(id, signal);
              const expiresAt = found.ok ? Date.parse(found.value.expires_at ?? "") : Number.NaN;
              return found.ok && clock.now() >= expiresAt
                ? ok({ ...found.value, status: "expired" as const })
                : found;
            },
          },
        },
      };
    },
  },
  "silent-end": {
    bug: "how a step ended is said to nobody",
    worker: (ports, options) => ({
      options,
      ports: { ...ports, log: { ...ports.log, info: () => {} } },
    }),
  },
  ...loopPlants,
} satisfies Record<string, Plant>;

export type PlantName = keyof typeof known;
export const plants: Readonly<Record<PlantName, Plant>> = known;

export const isPlantName = (name: string): name is PlantName => Object.hasOwn(plants, name);

/** Writes under whoever's lease is the newest, as a store without fences would. */
async function anyway(
  leases: Leases,
  own: StepStore,
  lease: Lease,
  write: (store: StepStore, lease: Lease) => ReturnType<StepStore["append"]>,
) {
  const written = await write(own, lease);
  const newest = leases.get(lease.stepId);
  if (written === "written" || newest === undefined) return written;
  await write(newest.store, newest.lease).catch(() => {});
  return "written" as const;
}

const bareName = (name: string) => name.replace(`${firstToolbox.server}.`, "");

/** The first answer to each question, for as long as the worker lives. */
function firstAnswers() {
  const kept = new Map<string, unknown>();
  return async <T>(question: string, ask: () => Promise<Outcome<T>>): Promise<Outcome<T>> => {
    const before = kept.get(question);
    if (before !== undefined) return ok(before as T);
    const answer = await ask();
    if (answer.ok) kept.set(question, answer.value);
    return answer;
  };
}

function final<T>(outcome: Outcome<T>): Outcome<T> {
  if (outcome.ok || !outcome.failure.retryable) return outcome;
  return fail(terminal("refused", outcome.failure.message));
}

function withoutGrants<T>(snapshot: T): T {
  const kept = structuredClone(snapshot) as T & { snapshot: { context: object } };
  Object.assign(kept.snapshot.context, { grants: [] });
  return kept;
}
