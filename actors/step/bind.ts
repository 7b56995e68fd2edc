import { context as openTelemetry, trace } from "@opentelemetry/api";
import type { ActorRefFrom, AnyActorRef } from "xstate";
import { terminal } from "../../machines/contracts/domain/failure.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import type { StepContext } from "../../machines/step/context.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { type Bulkheads, execute } from "./execute.ts";
import type { StepHandler } from "../handlers/handler.ts";
import type { RuntimeOptions } from "../options.ts";
import type { RuntimePorts } from "../ports.ts";
import {
  LeaseLost,
  StoreFailure,
  type StepSession,
  settlePendingWork,
  retryStamp,
  type StepActivity,
  type ActivityScope,
} from "./session.ts";
import type { StepType } from "../../machines/contracts/domain/job.ts";
import { backOff, park } from "./park.ts";
import { checkPolicy } from "./policy.ts";
import { deliver, record, settle } from "./report.ts";
import { load } from "./pending.ts";
import { readDecision, requestApproval } from "./approval.ts";
import { validate } from "./validate.ts";

/** What the chart's names are bound to. */
export interface Binding {
  ports: RuntimePorts;
  options: RuntimeOptions;
  handlers: Record<StepType, StepHandler>;
  bulkheads: Bulkheads;
  sessions: WeakMap<AnyActorRef, StepSession>;
}

/** What a write under way may take before the job is handed back regardless. */
const lastWriteMs = 500;

type ActionArgs = { self: AnyActorRef; context: StepContext };

/**
 * The production chart with real work behind its names. Each state's work runs outside the transition that
 * asked for it, under a signal of its own; what came of it is sent back as an event, unless the state was left.
 */
export function bindStep({ ports, options, handlers, bulkheads, sessions }: Binding) {
  const sessionOf = (self: AnyActorRef): StepSession => {
    const session = sessions.get(self);
    if (session === undefined)
      throw new Error(`step actor ${self.id} has no session: only the spawner makes them`);
    return session;
  };

  const ask =
    (work: StepActivity) =>
    ({ self, context }: ActionArgs): void => {
      const session = sessionOf(self);
      const signal = session.freshSignal();
      const actor = self as ActorRefFrom<typeof stepMachine>;
      const persist = () => actor.getPersistedSnapshot?.();
      const scope: ActivityScope = { ports, options, session, context, signal, persist };
      const active = trace.setSpan(openTelemetry.active(), session.span);
      session.track(openTelemetry.with(active, () => perform(work, scope, actor)));
    };

  return stepMachine.provide({
    actions: {
      load: ask(load),
      checkPolicy: ask(checkPolicy),
      requestApproval: ask(requestApproval),
      readDecision: ask(readDecision),
      execute: ask(execute(handlers, bulkheads)),
      validate: ask(validate),
      record: ask(record),
      deliver: ask(deliver),
      settle: ask(settle),
      park: ask(park),
      backOff: ask(backOff),
      abort: ({ self }) => sessionOf(self).abort(),
      release: ({ self }) => {
        const session = sessionOf(self);
        // A journal entry under way still belongs to this session: handed back before it, it would be refused.
        const last = settlePendingWork(session, ports.clock, lastWriteMs);
        session.track(last.then(() => ports.queue.release([session.delivery.entryId])));
      },
    },
  });
}

async function perform(
  work: StepActivity,
  scope: ActivityScope,
  actor: ActorRefFrom<typeof stepMachine>,
): Promise<void> {
  // The transition that asked for this work must be over before its outcome arrives.
  await Promise.resolve();
  if (scope.signal.aborted) return;
  try {
    const event = await work(scope);
    if (!scope.signal.aborted) actor.send(event);
  } catch (error) {
    if (!scope.signal.aborted) actor.send(toEvent(scope, actor, error));
  }
}

/**
 * What an error that nobody expected becomes: the step's failure where its state knows one; elsewhere the
 * step is let go, to be taken over, and after too many deliveries to end in the dead letters.
 */
function toEvent(
  scope: ActivityScope,
  actor: ActorRefFrom<typeof stepMachine>,
  error: unknown,
): StepEvent {
  if (error instanceof LeaseLost) return { type: "lease.lost" };
  const message = error instanceof Error ? error.message : String(error);
  const abandon: StepEvent = { type: "store.failed", message };
  if (error instanceof StoreFailure) return abandon;
  scope.session.log.error({ err: error }, "an effect failed unexpectedly");
  const failure = terminal("internal", `unexpected: ${message}`.slice(0, 500));
  const { costly } = scope.context;
  const failed: StepEvent = {
    type: "activity.failed",
    failure,
    costly,
    ...retryStamp(scope.ports),
  };
  return actor.getSnapshot().can(failed) ? failed : abandon;
}
