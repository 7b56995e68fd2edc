import type { Clock } from "../../machines/contracts/ports/clock.ts";
import { drawn } from "./chance.ts";
import type { Gate } from "./gate.ts";
import type { Strike } from "./plan.ts";
import type { World } from "./world.ts";

/** What a neighbour throws where it should have answered a value. */
export const plantedError = "a neighbour threw this";

/** Calls that are made all the time and tell nothing. */
const idle =
  /^(queue\.(read|claimStale|renew|stats)|store\.(wakeDue|find)|plane\.(run|ping|extensions))$/;

/**
 * A worker's process as its neighbours see it: what it asks leaves while it runs, what is answered arrives while
 * it runs, and at any call it may be struck.
 */
export class Link {
  readonly name: string;
  readonly world: World;
  readonly gate: Gate;
  /** When the call being made now was asked for: earlier than now if the process was paused in between. */
  askedAt = 0;
  readonly #seed: number;
  readonly #onCall: (call: string, side: Strike["side"]) => void;
  readonly #throws: (call: string) => boolean;
  /** How far this machine's wall clock is from everybody's. */
  readonly #clockAhead: number;
  #draws = 0;

  constructor(made: {
    name: string;
    seed: number;
    world: World;
    gate: Gate;
    clockAhead: number;
    onCall: (call: string, side: Strike["side"]) => void;
    throws: (call: string) => boolean;
  }) {
    this.name = made.name;
    this.world = made.world;
    this.gate = made.gate;
    this.#seed = made.seed;
    this.#onCall = made.onCall;
    this.#throws = made.throws;
    this.#clockAhead = made.clockAhead;
  }

  /** The next number of this worker's own, for latencies and for its dice. */
  draw(): number {
    this.#draws += 1;
    return drawn(this.#seed, `${this.name} ${this.#draws}`);
  }

  clock(): Clock {
    return { ...this.storeClock(), now: () => this.world.now() + this.#clockAhead };
  }

  /** The store's own time, which is the same for all; waits still end with this process. */
  storeClock(): Clock {
    return {
      now: () => this.world.now(),
      monotonic: () => this.world.elapsed,
      random: () => this.draw(),
      timer: (ms, callback) => this.world.schedule(ms, () => this.gate.pass(callback, true)),
    };
  }

  /** The port as this process reaches it. */
  reach<Port extends object>(neighbour: string, port: Port): Port {
    return new Proxy(port, {
      get: (target, method) => {
        const value: unknown = Reflect.get(target, method);
        if (typeof value !== "function" || typeof method !== "string") return value;
        const call = `${neighbour}.${method}`;
        return (...args: unknown[]) => {
          if (!this.#throws(call)) {
            return this.#cross(call, args, () => value.apply(target, args) as Promise<unknown>);
          }
          // Some throw at once, others reject.
          if (this.draw() < 0.5) throw new Error(plantedError);
          return this.#cross(call, args, () => Promise.reject(new Error(plantedError)));
        };
      },
    });
  }

  #cross(call: string, args: unknown[], issue: () => Promise<unknown>): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const askedAt = this.world.elapsed;
    const make = () => {
      this.askedAt = askedAt;
      issue().then(
        (value) => this.gate.pass(() => (this.#note(call, args, value), resolve(value))),
        (error) => this.gate.pass(() => (this.#note(call, args, error), reject(error))),
      );
      this.#onCall(call, "after");
    };
    if (this.gate.isOpen) this.#onCall(call, "before");
    this.gate.pass(make);
    return promise;
  }

  #note(call: string, args: unknown[], answer: unknown): void {
    if (idle.test(call) && !(answer instanceof Error) && !hasNews(answer)) return;
    this.world.note(this.name, `${call} ${about(args)} → ${brief(answer)}`);
  }
}

const hasNews = (answer: unknown): boolean => Array.isArray(answer) && answer.length > 0;

/** The step, run, effect or result that a call is about, as far as its arguments say. */
function about(args: unknown[]): string {
  const words: unknown[] = [];
  for (const arg of args.flat()) {
    if (typeof arg === "string") words.push(arg);
    if (typeof arg !== "object" || arg === null || arg instanceof AbortSignal) continue;
    const { stepId, toolName, fence, event, effect, status, body, idempotencyKey, wakeAt } =
      arg as Record<string, unknown>;
    const inner = (body as { status?: string } | undefined)?.status;
    words.push(stepId, fence === undefined ? undefined : `fence ${String(fence)}`, toolName);
    words.push(event, typeof effect === "string" ? effect.split("#")[0] : undefined);
    words.push(status, inner, stepId === undefined ? idempotencyKey : undefined);
    if (wakeAt !== undefined) words.push(`wake at ${String(wakeAt)}`);
  }
  return words.filter((word) => word !== undefined).join(" ");
}

function brief(answer: unknown): string {
  if (answer instanceof Error) return `threw ${answer.message}`;
  const text = typeof answer === "string" ? answer : (JSON.stringify(answer) ?? "nothing");
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}
