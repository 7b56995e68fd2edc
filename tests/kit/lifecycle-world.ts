import type { Action, Verdict } from "../../machines/contracts/domain/action.ts";
import { retryable, terminal, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import type { Effect } from "../../actors/handlers/handler.ts";
import type { Fault, History } from "./lifecycle-history.ts";

/** One worker's session with the step: from taking its job to letting it go, or dying. */
export interface Life {
  number: number;
  isDead: boolean;
  /** Paused past its lease: another session took over, and this one wakes later without knowing it. */
  isOvertaken: boolean;
  cancel(): void;
  drain(): void;
}

/** One line of what really happened, seen from outside the step. */
export type Seen =
  | {
      what: "touched";
      session: number;
      action: Action;
      repeat: Effect<Json>["repeat"];
      isLate: boolean;
    }
  | { what: "called" | "answered" | "ended" | "fault"; session: number; name: string }
  /** The strictest verdict of all that were asked about an action; `isOwn` when it is the step's own. */
  | {
      what: "judged";
      session: number;
      kind: Verdict["kind"] | "away";
      action: Pick<Action, "kind" | "name" | "input">;
      isOwn: boolean;
    }
  /** From here on every tool has this schema. */
  | { what: "changed"; schema: string; session: number }
  | { what: "asked"; session: number; digest: string; name: string }
  /** `digest` is the one the answer was given for. */
  | {
      what: "decided";
      status: "approved" | "rejected" | "expired";
      digest: string;
      action: Action;
    };

/** The outside world as a handler under test reaches it, in place of its real clients. */
export interface StepWorld {
  /**
   * Does something to the world: what a real client would do. It may fail, its answer may get lost, and the
   * worker may die around it, as the history has it.
   *
   * @param action what is done, exactly as policy and people are shown it
   * @param how.repeat what a repetition would mean; must be what the handler tells `scope.effect`
   * @param how.answer what the world answers when all goes well
   */
  touch<T extends Json>(
    action: Action,
    how: { repeat: Effect<Json>["repeat"]; answer: T },
  ): Promise<Outcome<T>>;
}

const lost = "the answer got lost";

/** Where faults strike: every call of a port and every touch of the world is one moment. */
export class LifecycleWorld {
  readonly seen: Seen[] = [];
  /** Faults that really struck, by kind. */
  readonly struck = new Map<Fault, number>();
  /** Calls of overtaken sessions, held until somebody else has worked. */
  readonly held: (() => void)[] = [];
  /** Whether the worker's lists deny every tool by now. */
  areToolsDenied = false;
  /** The digest of every tool's schema. */
  schema = "schema 1";
  readonly #faults: History["faults"];
  #next = 0;
  #since = 0;
  readonly #pause: () => void;
  readonly #publishAgain: () => Promise<void>;
  readonly #endRun: () => void;

  constructor(
    history: History,
    neighbours: { pause: () => void; publishAgain: () => Promise<void>; endRun?: () => void },
  ) {
    this.#faults = history.faults;
    this.#pause = neighbours.pause;
    this.#publishAgain = neighbours.publishAgain;
    this.#endRun = neighbours.endRun ?? (() => {});
  }

  /** The world as one session's handler sees it. */
  of(session: Life): StepWorld {
    return {
      touch: async (action, { repeat, answer }) => {
        const outcome = await this.moment<Outcome<typeof answer>>(
          session,
          `touch ${action.name}`,
          async () => {
            const { isOvertaken: isLate } = session;
            this.seen.push({ what: "touched", session: session.number, action, repeat, isLate });
            return { ok: true, value: answer };
          },
          {
            fails: () => ({ ok: false, failure: retryable("unavailable", "nobody answered") }),
            losesTheAnswer: () => ({
              ok: false,
              failure:
                repeat === "unsafe" ? terminal("in_doubt", lost) : retryable("timeout", lost),
            }),
          },
        );
        const { ok } = outcome;
        if (ok) this.seen.push({ what: "answered", session: session.number, name: action.name });
        return outcome;
      },
    };
  }

  /** One call to the outside: done, unless the history has something else in mind. */
  async moment<T>(
    session: Life,
    name: string,
    call: () => Promise<T>,
    trouble: { fails: () => T; losesTheAnswer: () => T },
  ): Promise<T> {
    if (session.isDead) return never();
    this.seen.push({ what: "called", session: session.number, name });
    const fault = this.#strike(session, name);
    switch (fault) {
      case "dies before":
        session.isDead = true;
        return never();
      case "dies after":
        await call();
        session.isDead = true;
        return never();
      case "fails":
        return trouble.fails();
      case "loses the answer":
        await call();
        return trouble.losesTheAnswer();
      case "is overtaken": {
        session.isOvertaken = true;
        // A call to a port arrives late; a touch of the world has happened, and only its answer is late.
        const early = name.startsWith("touch ") ? await call() : undefined;
        this.#pause();
        await new Promise<void>((resolve) => this.held.push(resolve));
        return early ?? call();
      }
      case "run is cancelled":
        session.cancel();
        return call();
      case "worker drains":
        session.drain();
        return call();
      case "job comes twice":
        await this.#publishAgain();
        return call();
      case "run ends unseen":
        this.#endRun();
        return call();
      case "tools are denied from the next session on":
        this.areToolsDenied = true;
        return call();
      case "tools change their schemas":
        this.schema = `${this.schema}+`;
        this.seen.push({ what: "changed", schema: this.schema, session: session.number });
        return call();
      case null:
        return call();
    }
  }

  #strike(session: Life, name: string): Fault | null {
    const fault = this.#faults[this.#next];
    if (fault === undefined || this.#since++ < fault.after) return null;
    this.#next += 1;
    this.#since = 0;
    // One session that comes back from the dead is enough, and it has had its trouble.
    if (session.isOvertaken) return null;
    this.seen.push({ what: "fault", session: session.number, name: `${fault.what}: ${name}` });
    this.struck.set(fault.what, (this.struck.get(fault.what) ?? 0) + 1);
    return fault.what;
  }
}

function never<T>(): Promise<T> {
  return new Promise<T>(() => {});
}
