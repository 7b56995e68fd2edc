import type {
  ActorSystem,
  ActorSystemInfo,
  AnyActorRef,
  InspectionEvent,
  SnapshotFrom,
} from "xstate";
import type {
  InspectedActor,
  InspectedMove,
  InspectionListener,
  InspectionSource,
} from "../machines/contracts/ports/inspection.ts";
import type { Job } from "../machines/contracts/domain/job.ts";
import { cutText } from "../machines/contracts/domain/text.ts";
import type { StepKey } from "../machines/contracts/domain/record.ts";
import type { agentLoopMachine } from "../machines/agent-loop/machine.ts";
import type { Clock } from "../machines/contracts/ports/clock.ts";
import type { RunningStep } from "./step/spawn.ts";
import { StepActor, type StepSession } from "./step/session.ts";

/** One move of an agent's loop, which is run without an actor. */
export interface LoopMoveNotice extends StepKey {
  round: number;
  /** Null at its beginning. */
  event: { type: string } | null;
  snapshot: SnapshotFrom<typeof agentLoopMachine>;
}

/** The parts of XState's snapshots that are read here; callbacks have no value. */
interface Seen {
  status: InspectedMove["status"];
  value?: unknown;
  context?: unknown;
}

/** The steps that are told of from their beginning, and apart from them the moves of what has no states. */
const mostAtOnce = 200;
const mostInSecond = 50;
/** Of the steps that were left out and are younger than that, a few are told of at a time: most are over in a moment. */
const youngMs = 1_000;
const mostYoung = 20;

/**
 * The actors of one supervisor's system, by XState's own stream of inspection. Compiled charts tell it as the
 * interpreter does, so nothing else runs while somebody looks; while nobody does, XState makes no events at all.
 *
 * To tell of a step costs a third of what it takes to do a short one, so of a flood some are told of, and those that turn
 * out to last: whoever is at work for long enough to be looked at is seen where it is.
 */
export function inspectionOf(
  supervisor: AnyActorRef,
  alive: { values(): Iterable<Pick<RunningStep, "actor" | "session">> },
  clock: Pick<Clock, "now" | "monotonic">,
): InspectionSource {
  const observe = observerOf(supervisor.system);
  return {
    watch(listener, leftOut) {
      const known = new Set<string>();
      const mayBegin = seldom(clock);
      const mayMove = seldom(clock);
      let areLeftOut = false;
      const leaveOut = () => {
        if (!areLeftOut) leftOut();
        areLeftOut = true;
      };
      /** Who sent an event: it is told before what came of it. */
      const senders = new WeakMap<object, string>();
      const appear = (ref: AnyActorRef) => {
        if (known.has(ref.sessionId)) return;
        known.add(ref.sessionId);
        listener.appeared(describe(ref, ref instanceof StepActor ? ref.session : undefined));
      };
      const move = (ref: AnyActorRef, snapshot: Seen, event: { type: string } | null) => {
        appear(ref);
        const { status } = snapshot;
        listener.moved({
          id: ref.sessionId,
          event: event?.type ?? "",
          detail: event,
          source: event === null ? null : (senders.get(event) ?? null),
          value: pathOf(snapshot.value),
          status,
          context: snapshot.context,
          at: clock.now(),
        });
        if (status !== "active") known.delete(ref.sessionId);
      };
      const { children } = supervisor.getSnapshot() as { children: Record<string, AnyActorRef> };
      const steps = Array.from(alive.values(), ({ actor }) => actor);
      for (const ref of [supervisor, ...Object.values(children), ...steps])
        move(ref, ref.getSnapshot() as Seen, null);
      const stop = observe((told) => {
        const { type } = told;
        if (type !== "@xstate.snapshot" && type !== "@xstate.event") return;
        const { event } = told;
        const ref = told.actorRef as AnyActorRef;
        if (ref instanceof StepActor && !known.has(ref.sessionId)) {
          if (type !== "@xstate.event" || event.type !== "xstate.init") return;
          if (!mayBegin()) return leaveOut();
          appear(ref);
        }
        if (type === "@xstate.snapshot") {
          const snapshot = told.snapshot as Seen;
          const isWork = snapshot.value === undefined && snapshot.status === "active";
          if (!isWork || mayMove()) move(ref, snapshot, event);
        } else if (told.sourceRef !== undefined && known.has(told.sourceRef.sessionId)) {
          senders.set(event, told.sourceRef.sessionId);
        }
      });
      const catchUp = () => {
        if (!areLeftOut) return;
        areLeftOut = false;
        let room = mostYoung;
        const young = clock.monotonic() - youngMs;
        for (const { actor, session } of alive.values()) {
          if (known.has(actor.sessionId) || actor.getSnapshot().status !== "active") continue;
          const isYoung = session.startedAt > young;
          if (isYoung) room -= 1;
          if (isYoung && room < 0) leaveOut();
          else move(actor, actor.getSnapshot() as Seen, null);
        }
      };
      return { catchUp, stop };
    },
  };
}

/** Says yes `mostAtOnce` times, and then `mostInSecond` times a second. */
function seldom(clock: Pick<Clock, "monotonic">): () => boolean {
  let left = mostAtOnce;
  let at = clock.monotonic();
  return () => {
    const now = clock.monotonic();
    left = Math.min(mostAtOnce, left + ((now - at) * mostInSecond) / 1_000);
    at = now;
    if (left < 1) return false;
    left -= 1;
    return true;
  };
}

type Observer = (event: InspectionEvent) => void;

/**
 * Hears what a system's `inspect` would tell. XState copies each event for its observers, thirty of them a step, which
 * is a tenth of what it costs to look: here they come as they are made. An XState without that place is asked for copies.
 *
 * @returns a function that begins to observe, and returns one that ends it
 */
function observerOf(system: ActorSystem<ActorSystemInfo>): (observer: Observer) => () => void {
  const internal = system as unknown as { _sendInspectionEvent?: Observer };
  const told = internal._sendInspectionEvent;
  if (typeof told !== "function") {
    return (observer) => {
      const subscription = system.inspect(observer);
      return () => subscription.unsubscribe();
    };
  }
  let observers: readonly Observer[] = [];
  const tellAll: Observer = (event) => {
    told(event);
    for (const observer of observers) observer(event);
  };
  return (observer) => {
    observers = [...observers, observer];
    internal._sendInspectionEvent = tellAll;
    return () => {
      observers = observers.filter((other) => other !== observer);
      if (observers.length === 0) internal._sendInspectionEvent = told;
    };
  };
}

function describe(ref: AnyActorRef, session: StepSession | undefined): InspectedActor {
  const { logic, _parent: parent } = ref as { logic?: { id?: string }; _parent?: AnyActorRef };
  return {
    id: ref.sessionId,
    machine: logic?.id ?? "work",
    name: ref.id,
    parent: parent?.sessionId ?? null,
    runId: session?.key.runId ?? null,
    stepId: session?.key.stepId ?? null,
    stepType: session?.job?.stepType ?? null,
    about: session?.job == null ? null : aboutJob(session.job),
    passed: session?.stateHistory.slice(0, -1) ?? [],
  };
}

/** As the job has it, which is data from outside: names alone, no text that somebody wrote. */
function aboutJob({ input }: Job): string | null {
  const named = input["tool_name"] ?? input["model"];
  return typeof named === "string" ? cutText(named, 100) : null;
}

/** By identity where it can be: a compiled chart has one value a state. */
const paths = new WeakMap<object, string>();

/** A state as its dotted path: `executing.working`. Of states side by side, all. */
export function pathOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return "";
  const known = paths.get(value);
  if (known !== undefined) return known;
  const path = Object.entries(value)
    .map(([key, inner]) => [key, pathOf(inner)].filter((part) => part !== "").join("."))
    .join(", ");
  paths.set(value, path);
  return path;
}

/** Hands on what is told of loops, in the words of the others. */
export function tellLoop(listener: InspectionListener, notice: LoopMoveNotice, at: number): void {
  const { runId, stepId, round, event, snapshot } = notice;
  const id = `loop:${runId}/${stepId}/${round}`;
  if (event === null) {
    const name = round === 0 ? stepId : `${stepId}, round ${round + 1}`;
    const kind = { machine: "agent-loop", parent: null, stepType: "llm" } as const;
    listener.appeared({ ...kind, id, name, runId, stepId, about: null, passed: [] });
  }
  const { status, context } = snapshot;
  listener.moved({
    id,
    event: event?.type ?? "xstate.init",
    detail: event,
    source: null,
    value: pathOf(snapshot.value),
    status,
    context,
    at,
  });
}
