import { type EventObject, fromCallback } from "xstate";
import { parseJob } from "../machines/contracts/job.ts";
import type { Delivery } from "../machines/contracts/ports/step-queue.ts";
import type { StepEnd } from "../machines/step/machine.ts";
import type { NurseryCommand, SupervisorEvent } from "../machines/supervisor/events.ts";
import { type Household, raiseStep } from "./raise-step.ts";
import { unwound } from "./step/unwound.ts";

/**
 * Creates the step actors with itself as their parent (one system, one inspection stream), observes how they
 * end, and tells the supervisor. No error of a step gets past it.
 */
export function nursery(household: Household) {
  return fromCallback<NurseryCommand, undefined>(({ receive, self, sendBack }) => {
    const tell = (event: SupervisorEvent) => sendBack(event as EventObject);
    const admit = (delivery: Delivery) => {
      const parsed = parseJob(delivery.fields);
      if (parsed.sound) {
        const { job } = parsed;
        raiseStep(household, { parent: self, tell, delivery, key: job, job, problem: null });
        return;
      }
      const { runId, stepId, failure } = parsed.unsound;
      if (runId !== null && stepId !== null) {
        const key = { runId, stepId };
        raiseStep(household, { parent: self, tell, delivery, key, job: null, problem: failure });
        return;
      }
      const buried = bury(household, delivery, failure.message);
      household.track(buried.then((how) => tell({ type: "step.ended", how })));
    };
    receive((command) => {
      if (command.type === "admit") command.deliveries.forEach(admit);
      if (command.type === "drain") {
        for (const step of household.alive.values()) step.tell({ type: "drain" });
      }
    });
    return () => {
      // XState refuses to stop an actor that has a parent; without its work it is silent anyway.
      for (const { life } of household.alive.values()) {
        life.abort();
        household.track(unwound(life, household.ports.clock));
      }
    };
  });
}

/** A job that can't even be named is kept where a person can look at it. */
async function bury({ ports }: Household, delivery: Delivery, reason: string): Promise<StepEnd> {
  const { entryId, fields, deliveries } = delivery;
  const letter = { fields, reason, path: ["pending"], snapshot: null, deliveries };
  ports.log.warn({ entryId, reason }, "the job can't be read: it is now a dead letter");
  try {
    const at = ports.clock.now();
    return (await ports.queue.deadLetter(entryId, { ...letter, at })) ? "settled" : "gone";
  } catch (error) {
    ports.log.warn({ err: error, entryId }, "the dead letter was not kept; the job comes again");
    return "gone";
  }
}
