import type { World } from "./world.ts";

interface Held {
  run: () => void;
  isTimer: boolean;
}

/**
 * Everything that reaches a worker's process passes here: its timers and the answers of its neighbours. Paused,
 * they wait while the world goes on; shut, the process is dead and nothing reaches it again.
 */
export class Gate {
  #state: "open" | "paused" | "shut" = "open";
  #held: Held[] = [];
  readonly #world: World;
  readonly #timersFirst: boolean;

  constructor(world: World, timersFirst: boolean) {
    this.#world = world;
    this.#timersFirst = timersFirst;
  }

  get isShut(): boolean {
    return this.#state === "shut";
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  pass(run: () => void, isTimer = false): void {
    if (this.#state === "open") run();
    else if (this.#state === "paused") this.#held.push({ run, isTimer });
  }

  pause(): void {
    if (this.#state === "open") this.#state = "paused";
  }

  resume(): void {
    if (this.#state !== "paused") return;
    this.#state = "open";
    const held = this.#held;
    this.#held = [];
    if (this.#timersFirst) held.sort((a, b) => Number(b.isTimer) - Number(a.isTimer));
    // Each in a turn of its own, as an event loop would.
    for (const { run, isTimer } of held) this.#world.schedule(0, () => this.pass(run, isTimer));
  }

  shut(): void {
    this.#state = "shut";
    this.#held = [];
  }
}
