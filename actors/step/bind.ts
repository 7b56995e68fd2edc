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
  type StepLife,
  unwound,
  occasion,
  type StepWork,
  type WorkScope,
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
  lives: WeakMap<AnyActorRef, StepLife>;
}

/** What a write under way may take before the job is handed back regardless. */
const lastWriteMs = 500;

type Moment = { self: AnyActorRef; context: StepContext };

/**
 * The production chart with real work behind its names. Each state's work runs outside the transition that
 * asked for it, under a signal of its own; what came of it is sent back as an event, unless the state was left.
 */
export function bindStep({ ports, options, handlers, bulkheads, lives }: Binding) {
  const lifeOf = (self: AnyActorRef): StepLife => {
    const life = lives.get(self);
    if (life === undefined)
      throw new Error(`step actor ${self.id} has no life: only the nursery makes them`);
    return life;
  };

  const ask =
    (work: StepWork) =>
    ({ self, context }: Moment): void => {
      const life = lifeOf(self);
      const signal = life.freshSignal();
      const actor = self as ActorRefFrom<typeof stepMachine>;
      const persist = () => actor.getPersistedSnapshot?.();
      const scope: WorkScope = { ports, options, life, context, signal, persist };
      const active = trace.setSpan(openTelemetry.active(), life.span);
      life.trail(openTelemetry.with(active, () => perform(work, scope, actor)));
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
      abort: ({ self }) => lifeOf(self).abort(),
      handBack: ({ self }) => {
        const life = lifeOf(self);
        // A journal entry under way still belongs to this life: handed back before it, it would be refused.
        const last = unwound(life, ports.clock, lastWriteMs);
        life.trail(last.then(() => ports.queue.handBack([life.delivery.entryId])));
      },
    },
  });
}

async function perform(
  work: StepWork,
  scope: WorkScope,
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
  scope: WorkScope,
  actor: ActorRefFrom<typeof stepMachine>,
  error: unknown,
): StepEvent {
  if (error instanceof LeaseLost) return { type: "lease.lost" };
  const message = error instanceof Error ? error.message : String(error);
  const letGo: StepEvent = { type: "store.failed", message };
  if (error instanceof StoreFailure) return letGo;
  scope.life.log.error({ err: error }, "an effect failed unexpectedly");
  const failure = terminal("internal", `unexpected: ${message}`.slice(0, 500));
  const { costly } = scope.context;
  const failed: StepEvent = { type: "failed", failure, costly, ...occasion(scope.ports) };
  return actor.getSnapshot().can(failed) ? failed : letGo;
}
