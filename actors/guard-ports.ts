import { fail, type Outcome, retryable, terminal } from "../machines/contracts/domain/failure.ts";
import { cutText } from "../machines/contracts/domain/text.ts";
import type { Log } from "../machines/contracts/ports/clock.ts";
import type { RuntimePorts } from "./ports.ts";

/**
 * The ports whose verbs answer an Outcome, with a guard before each verb: one that throws or rejects all the same is a
 * fault of its adapter, or of what the adapter was sent. It says nothing of the job that asked, so it is passing
 * trouble, named and logged: the job waits, and a paid result stays kept until it can be delivered.
 */
export function guardPorts(ports: RuntimePorts): RuntimePorts {
  const { controlPlane, artifacts, log } = ports;
  const { budgets } = controlPlane;
  return {
    ...ports,
    controlPlane: {
      ...guarded("control plane", controlPlane, log),
      ...(budgets === undefined ? {} : { budgets: guarded("control plane", budgets, log) }),
    },
    artifacts: guarded("artifacts", artifacts, log),
  };
}

function guarded<Port extends object>(neighbour: string, port: Port, log: Log): Port {
  // Each verb is made once: several are called in every step.
  const made = new Map<string | symbol, unknown>();
  return new Proxy(port, {
    get(target, verb) {
      const earlier = made.get(verb);
      if (earlier !== undefined) return earlier;
      const value: unknown = Reflect.get(target, verb);
      if (typeof value !== "function" || typeof verb !== "string") return value;
      const call = value.bind(target);
      // The chart counts the report's throws itself, and keeps the result with the dead letter.
      made.set(verb, verb === "report" ? call : guard(`${neighbour}, ${verb}`, call, log));
      return made.get(verb);
    },
  });
}

function guard(
  what: string,
  call: (...given: unknown[]) => Promise<Outcome<unknown>>,
  log: Log,
): typeof call {
  return async (...given) => {
    try {
      return await call(...given);
    } catch (error) {
      if (given.some((one) => one instanceof AbortSignal && one.aborted)) {
        return fail(terminal("cancelled", `${what}: cut short`));
      }
      const message = cutText(error instanceof Error ? error.message : String(error), 300);
      log.error({ err: error }, `${what}: the adapter threw where it should have answered`);
      return fail(retryable("unavailable", `${what}: threw ${message}`));
    }
  };
}
