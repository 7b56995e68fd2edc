import type { StepContext } from "../../machines/step/context.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import type { Activity } from "../../machines/step/activities.ts";

/** One moment of a step's history: the event, where it led, and what was asked for then. */
export interface ActionArgs {
  event: StepEvent | { type: "xstate.init" };
  value: string | object;
  status: string;
  context: StepContext;
  asked: Activity[];
}

/** A promise about every history of every step; `broken` says how a history breaks it, or null. */
export interface Invariant {
  promise: string;
  broken(history: readonly ActionArgs[]): string | null;
}

const top = (value: string | object): string =>
  typeof value === "string" ? value : (Object.keys(value)[0] ?? "");

const isAllowed = ({ context }: ActionArgs): boolean => {
  if (context.verdict?.kind === "allow") return true;
  return context.grants.length > 0 && context.asks.length === 0;
};

export const invariants: readonly Invariant[] = [
  {
    promise: "nothing executes without an allowing verdict or a grant",
    broken: (history) => {
      const rogue = history.find(
        (moment) => moment.asked.includes("execute") && !isAllowed(moment),
      );
      return rogue ? `executing after ${rogue.event.type}` : null;
    },
  },
  {
    promise: "a denied step never executes afterwards",
    broken: (history) => {
      const denied = history.findIndex(({ event }) => event.type === "policy.denied");
      if (denied === -1) return null;
      const late = history.slice(denied).find(({ asked }) => asked.includes("execute"));
      return late ? `executed after the denial, on ${late.event.type}` : null;
    },
  },
  {
    promise:
      "what the control plane or the store refuses is sent once more as a short failure, and never again",
    broken: (history) => {
      const isRefusal = ({ event }: ActionArgs) =>
        event.type === "delivery.refused" || event.type === "store.failed";
      const last = history.at(-1);
      if (last === undefined) return null;
      const { undelivered, result } = last.context;
      if (undelivered === null) return null;
      if (!history.some(isRefusal)) return "a result was given up without a refusal";
      if (result?.status !== "failed" || result.output !== null) return "no short failure stands";
      const first = history.findIndex(({ context }) => context.undelivered !== null);
      const sent = history.slice(first).filter(({ event }) => event.type === "delivery.refused");
      return sent.length > 2 ? `${sent.length} refusals were answered with another report` : null;
    },
  },
  {
    promise: "a report is delivered at most once",
    broken: (history) => {
      const accepted = history.filter(
        ({ event, value }) => event.type === "delivery.accepted" && top(value) === "reported",
      );
      return accepted.length > 1 ? `${accepted.length} deliveries acknowledged` : null;
    },
  },
  {
    promise: "nothing is delivered before it was recorded or found recorded",
    broken: (history) => {
      const first = history.findIndex(({ asked }) => asked.includes("deliver"));
      if (first === -1) return null;
      const before = history.slice(0, first + 1).map(({ event }) => event.type);
      // Where the store refuses the step there is no outbox; the short failure sent instead costs nothing.
      return ["result.recorded", "record.recorded", "store.failed"].some((type) =>
        before.includes(type as never),
      )
        ? null
        : "delivered without the outbox";
    },
  },
  {
    promise: "a step without a result never reaches reported, unless it was reported before",
    broken: (history) => {
      const empty = history.find(
        ({ value, context, event }) =>
          top(value) === "reported" && context.result === null && event.type !== "record.reported",
      );
      const known = history.some(({ event }) => event.type === "record.reported");
      return empty && !known ? `reported empty-handed on ${empty.event.type}` : null;
    },
  },
  {
    promise: "a step that lost its lease says not a word more",
    broken: (history) => {
      const lost = history.findIndex(({ event }) => event.type === "lease.lost");
      if (lost === -1) return null;
      const words = history.slice(lost).flatMap(({ asked }) => asked);
      return words.length > 0 ? `asked for ${words.join(", ")} after the lease was lost` : null;
    },
  },
  {
    promise: "attempts and repairs stay within their limits",
    broken: (history) => {
      const over = history.find(
        ({ context }) =>
          context.attempts > context.limits.maxAttempts ||
          context.repairs > context.limits.maxRepairs,
      );
      return over ? `attempts ${over.context.attempts}, repairs ${over.context.repairs}` : null;
    },
  },
  {
    promise: "the context is JSON: it survives being written and read",
    broken: (history) => {
      const lossy = history.find(
        ({ context }) =>
          JSON.stringify(JSON.parse(JSON.stringify(context))) !== JSON.stringify(context),
      );
      return lossy ? `the context after ${lossy.event.type} does not survive JSON` : null;
    },
  },
  {
    promise: "a job that becomes a dead letter is reported failed",
    broken: (history) => {
      const last = history.at(-1);
      if (last === undefined || last.context.deadLetter === null) return null;
      return last.context.result?.status === "failed" ? null : "a dead letter, and nobody was told";
    },
  },
];

/** Every promise that a history breaks, as sentences; empty when it keeps them all. */
export function brokenPromises(history: readonly ActionArgs[]): string[] {
  return invariants.flatMap(({ promise, broken }) => {
    const how = broken(history);
    return how === null ? [] : [`${promise}: ${how}`];
  });
}
