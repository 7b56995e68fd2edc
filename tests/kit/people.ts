import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type { Decision } from "./lifecycle-history.ts";
import type { LifecycleWorld } from "./lifecycle-world.ts";
import type { Question, SimulatedControlPlane } from "./simulated-control-plane.ts";

/** Answers the questions of a walk, in turn, as its history says; granting once that is used up. */
export class People {
  readonly #decisions: readonly Decision[];
  readonly #scene: {
    controlPlane: SimulatedControlPlane;
    publish: () => Promise<unknown>;
    clock: Clock & { advance(ms: number): void };
    world: LifecycleWorld;
  };
  #next = 0;

  constructor(
    decisions: readonly Decision[],
    scene: {
      controlPlane: SimulatedControlPlane;
      publish: () => Promise<unknown>;
      clock: Clock & { advance(ms: number): void };
      world: LifecycleWorld;
    },
  ) {
    this.#decisions = decisions;
    this.#scene = scene;
  }

  /** Somebody quick: decides in the moment a question is put, where the history says so. */
  async decideEarly(): Promise<void> {
    if (this.#decisions[this.#next] === "grant before it is parked") await this.decide();
  }

  /** Decides on the first open question; false when there is none. */
  async decide(): Promise<boolean> {
    const { controlPlane, clock, publish } = this.#scene;
    const question = controlPlane.questions.find(({ status }) => status === "pending");
    if (question === undefined || controlPlane.isCancelled()) return false;
    const decision = this.#decisions[this.#next] ?? "grant";
    this.#next += 1;
    if (decision === "expire") {
      clock.advance(Math.max(question.expiresAt - clock.now(), 0));
      this.#note(question, "expired");
      return true;
    }
    this.#note(question, decision === "reject" ? "rejected" : "approved");
    if (decision === "grant of something else") question.digest = `not ${question.digest}`;
    await publish();
    if (decision === "grant twice") await publish();
    return true;
  }

  #note(question: Question, status: "approved" | "rejected" | "expired"): void {
    question.status = status;
    const { digest, action } = question;
    this.#scene.world.seen.push({ what: "decided", status, digest, action });
  }
}
