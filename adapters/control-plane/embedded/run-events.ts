import { randomBytes } from "node:crypto";
import type { Json } from "../../../machines/contracts/domain/json.ts";
import type { RunStatus } from "../../../machines/contracts/domain/status.ts";

/*
 * What event streams are told, and how one that broke goes on.
 *
 *   channel     what one tenant hears: its own events; and one of all events, which the operator hears
 *   run, stop   have an id, `LIFE-NUMBER`: the life is the channel's in this process, numbers go up by one in it, so that
 *               they tell nobody how much others do. Each channel keeps its newest ones.
 *   text        has none, and is not kept: it is only shown while it comes
 *
 * A client that comes back with the last id it had is told everything after it, in order, before anything newer. One whose
 * id is of another life, or older than what is kept, can't be: it is told so, and gets the present state instead.
 */

export interface RunChange {
  runId: string;
  status: RunStatus;
  tenantId: string;
}

/** A piece of what a model says, as it comes. */
export interface RunText {
  runId: string;
  stepId: string;
  text: string;
  /** What was said before it is void. */
  restart: boolean;
  tenantId: string;
}

/** A step that is to stop though its run goes on. */
export interface StepStop {
  runId: string;
  stepId: string;
  tenantId: string;
}

/** An event as it is sent. */
export interface KeptEvent {
  /** Null for one that nobody can go on from. */
  id: string | null;
  event: "run" | "stop" | "text";
  data: { run_id: string; [name: string]: Json };
}

interface Listener {
  onEvent(event: KeptEvent): void;
  onClose(): void;
}

/** What one tenant hears, or the operator. */
export interface EventChannel {
  /** Returns what ends the subscription. */
  subscribe(listener: Listener): () => void;
  /** The id of the newest event that has one; of none, before the first. */
  newest(): string;
  /** What came after the event with this id; null where that can't be known any more. */
  after(id: string): KeptEvent[] | null;
}

/** Tells every open event stream of each run's change of status, and of what models say in its workers. */
export interface RunEvents {
  tell(change: RunChange): void;
  tellText(text: RunText): void;
  tellStop(stop: StepStop): void;
  /** @param tenantId whose events; null for all of them */
  channel(tenantId: string | null): EventChannel;
  close(): void;
}

/** Events that are kept for whoever comes back: a busy minute of all, and of one tenant. */
const usual = { all: 4_096, tenant: 1_024 };

export function createRunEvents(most = usual): RunEvents {
  const all = openChannel(most.all);
  /** Those of tenants that have ever listened: of the others nobody has an id to go on from. */
  const tenants = new Map<string, Channel>();
  const of = ({ tenantId }: { tenantId: string }) => {
    const own = tenants.get(tenantId);
    return own === undefined ? [all] : [all, own];
  };
  return {
    tell({ runId, status, tenantId }) {
      const event = { event: "run", data: { run_id: runId, status } } as const;
      for (const channel of of({ tenantId })) channel.keep(event);
    },
    tellStop({ runId, stepId, tenantId }) {
      const event = { event: "stop", data: { run_id: runId, step_id: stepId } } as const;
      for (const channel of of({ tenantId })) channel.keep(event);
    },
    tellText({ runId, stepId, text, restart, tenantId }) {
      const data = { run_id: runId, step_id: stepId, text, ...(restart ? { restart } : {}) };
      for (const channel of of({ tenantId })) channel.send({ id: null, event: "text", data });
    },
    channel(tenantId) {
      if (tenantId === null) return all;
      const own = tenants.get(tenantId) ?? openChannel(most.tenant);
      tenants.set(tenantId, own);
      return own;
    },
    close() {
      for (const channel of [all, ...tenants.values()]) channel.close();
    },
  };
}

type Channel = ReturnType<typeof openChannel>;

function openChannel(most: number) {
  const listeners = new Set<Listener>();
  const life = randomBytes(6).toString("hex");
  const kept: KeptEvent[] = [];
  let count = 0;
  const send = (event: KeptEvent) => {
    for (const listener of listeners) listener.onEvent(event);
  };
  return {
    send,
    keep(event: Omit<KeptEvent, "id">) {
      const numbered = { ...event, id: `${life}-${++count}` };
      kept.push(numbered);
      // Seldom, and many at a time: to take one off the front moves all the others.
      if (kept.length >= 2 * most) kept.splice(0, kept.length - most);
      send(numbered);
    },
    subscribe(listener: Listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    newest: () => `${life}-${count}`,
    after(id: string) {
      const [, from, number = ""] = /^([0-9a-f]+)-(\d{1,15})$/.exec(id) ?? [];
      const missed = count - Number(number);
      if (from !== life || missed < 0 || missed > Math.min(kept.length, most)) return null;
      return missed === 0 ? [] : kept.slice(-missed);
    },
    close() {
      for (const listener of listeners) listener.onClose();
      listeners.clear();
    },
  };
}
