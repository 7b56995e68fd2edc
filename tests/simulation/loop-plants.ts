import type { ControlPlane } from "../../machines/contracts/ports/control-plane.ts";
import type { Ask } from "../../machines/contracts/domain/action.ts";
import { ok } from "../../machines/contracts/domain/failure.ts";
import type { JournalEntry, StepKey } from "../../machines/contracts/domain/record.ts";
import type { StepStore } from "../../machines/contracts/ports/step-backend.ts";
import type { Plant } from "./plants.ts";

/** Bugs in what an agent's loop keeps of its calls, and of people's answers to them. */
export const loopPlants = {
  "inner-call-forgets-doubt": {
    bug: "an agent's call that was begun before a crash counts as not called",
    store: (store: StepStore): StepStore => ({
      ...store,
      async open(...args) {
        const opening = await store.open(...args);
        if (opening.kind !== "opened" || opening.record === null) return opening;
        const { record } = opening;
        return {
          ...opening,
          record: { ...record, journal: notCalled(record.journal as JournalEntry[]) },
        };
      },
    }),
  },
  "repeat-forgets-first-try": {
    bug: "a repetition that is known to have failed is all that is known of its call",
    store: (store: StepStore): StepStore => ({
      ...store,
      async append(lease, entries, durable) {
        return store.append(lease, entries.map(withoutEarlierTry), durable);
      },
    }),
  },
  "yes-covers-two-calls": {
    bug: "a yes to one of an agent's calls is a yes to every call of that tool in the same turn",
    controlPlane: (controlPlane) =>
      sharingAnswers(controlPlane, ({ action }) => `${action.name} ${turnOf(action.call)}`),
  },
  "yes-covers-other-arguments": {
    bug: "a yes to an agent's call is a yes to its tool with whatever arguments it is called next",
    controlPlane: (controlPlane) =>
      sharingAnswers(controlPlane, ({ action }) => action.name, isOfAnotherTurn),
  },
  "no-to-a-call-is-lost": {
    bug: "a person's no to one of an agent's calls is taken for a yes",
    controlPlane(controlPlane) {
      const inner = new Set<string>();
      return {
        ...controlPlane,
        async requestApproval(key, ask, signal) {
          const put = await controlPlane.requestApproval(key, ask, signal);
          if (put.ok && ask.action.call !== undefined) inner.add(put.value.id);
          return put;
        },
        async findApproval(id, signal) {
          const found = await controlPlane.findApproval(id, signal);
          const isLost = found.ok && inner.has(id) && found.value.status === "rejected";
          return isLost ? ok({ ...found.value, status: "approved" as const }) : found;
        },
      };
    },
  },
  "call-follows-its-name": {
    bug: "an agent's call goes to whatever tool has its name by now",
    worker: (ports, options) => ({
      options,
      ports: {
        ...ports,
        tools: {
          ...ports.tools,
          async call(target, input, signal, ...rest) {
            const found = await ports.tools.describe(target.name, signal);
            return ports.tools.call(found.ok ? found.value : target, input, signal, ...rest);
          },
        },
      },
    }),
  },
} satisfies Record<string, Plant>;

const isInner = (effect: string): boolean => effect.startsWith("tool#0.");

/** The journal of a worker that tells its model of a call in doubt what it tells of a call that was not made. */
function notCalled(journal: readonly JournalEntry[]): JournalEntry[] {
  const open = new Map<string, number>();
  for (const entry of journal) {
    if (entry.event === "begun" && isInner(entry.effect)) open.set(entry.effect, entry.at);
    if (entry.event === "completed") open.delete(entry.effect);
  }
  const closed = [...open].map(([effect, at]): JournalEntry => {
    const error = "the tool was not called";
    const result = { content: error, error, decision: "deny", reason: error, tool: "pay" };
    const more = { server: null, approvalId: null, digest: null, durationMs: 0, ran: false };
    return { event: "completed", effect, at, result: { value: { ...result, ...more } } };
  });
  return [...journal, ...closed];
}

const earlierTry = /; an earlier try(?: of this call)? may have run/gu;

function withoutEarlierTry(entry: JournalEntry): JournalEntry {
  if (entry.event !== "completed" || !isInner(entry.effect)) return entry;
  const result = JSON.parse(JSON.stringify(entry.result).replaceAll(earlierTry, ""));
  return { ...entry, result };
}

const turnOf = (call = ""): string => call.split(".").slice(0, 2).join(".");

const isOfAnotherTurn = (one: Ask, other: Ask): boolean =>
  turnOf(one.action.call) !== turnOf(other.action.call);

/** A control plane's client for which questions that are alike have one answer: that to the first of them. */
function sharingAnswers(
  controlPlane: ControlPlane,
  likeness: (ask: Ask) => string,
  isShared: (first: Ask, ask: Ask) => boolean = () => true,
): ControlPlane {
  const first = new Map<string, { id: string; ask: Ask }>();
  return {
    ...controlPlane,
    async requestApproval(key: StepKey, ask, signal) {
      const like = `${key.stepId} ${likeness(ask)}`;
      const known = first.get(like);
      const isOfAgent = ask.action.call !== undefined && ask.action.kind === "tool";
      if (isOfAgent && known !== undefined && known.ask.digest !== ask.digest) {
        if (isShared(known.ask, ask)) {
          const alias = `${known.id}/${ask.digest}`;
          const found = await controlPlane.findApproval(known.id, signal);
          return found.ok ? ok({ ...found.value, id: alias, digest: ask.digest }) : found;
        }
      }
      const put = await controlPlane.requestApproval(key, ask, signal);
      if (put.ok && isOfAgent && known === undefined) first.set(like, { id: put.value.id, ask });
      return put;
    },
    async findApproval(id, signal) {
      const [known = id, digest] = id.split("/");
      const found = await controlPlane.findApproval(known, signal);
      return found.ok && digest !== undefined ? ok({ ...found.value, id, digest }) : found;
    },
  };
}
