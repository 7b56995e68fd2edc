import type { FaultPlan, Strike } from "./plan.ts";
import { type Stage, startWorker, type Worker } from "./worker.ts";

/** The workers of one history: started, struck, drained, and started again in their places. */
export class Crew {
  readonly alive = new Map<number, Worker>();
  readonly #stage: Stage;
  readonly #lives = new Map<number, number>();
  /** The stores of all that ever ran, to be closed at the end. */
  readonly #backends: Worker["backend"][] = [];

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  async start(slot: number): Promise<void> {
    if (this.alive.has(slot)) return;
    const life = (this.#lives.get(slot) ?? 0) + 1;
    this.#lives.set(slot, life);
    this.#stage.world.note(`w${slot}.${life}`, "starts");
    const worker = await startWorker(this.#stage, slot, life, (struck, call, side) =>
      this.#strike(struck, call, side),
    );
    this.#backends.push(worker.backend);
    if (worker.gate.isShut) return;
    this.alive.set(slot, worker);
    void worker.runtime.ended.then(({ fault }) => {
      if (fault !== null) this.#stage.witness.unexpected.push(`${worker.name} stopped: ${fault}`);
    });
  }

  do(fault: Extract<FaultPlan, { kind: "crash" | "pause" | "drain" }>): void {
    const worker = this.alive.get(fault.worker);
    if (worker === undefined || !worker.gate.isOpen) return;
    if (fault.kind === "drain") this.#drain(worker, fault);
    else if (fault.on !== null) this.#stage.faults.arm(fault);
    else this.#fell(worker, fault);
  }

  /** All paused go on; every place is taken. */
  async heal(fresh: number): Promise<void> {
    for (const worker of this.alive.values()) worker.gate.resume();
    for (let slot = 0; slot <= fresh; slot += 1) await this.start(slot);
  }

  async close(): Promise<void> {
    for (const backend of this.#backends) await backend.close();
  }

  #strike(worker: Worker, call: string, side: Strike["side"]): void {
    if (!worker.gate.isOpen) return;
    const fault = this.#stage.faults.strike(worker.slot, call, side);
    if (fault !== undefined) this.#fell(worker, fault, ` ${side} ${call}`);
  }

  #fell(worker: Worker, fault: Extract<FaultPlan, { kind: "crash" | "pause" }>, when = ""): void {
    const { world, faults, plan, witness } = this.#stage;
    witness.disturb(worker.name, world.elapsed, fault.kind);
    if (fault.kind === "pause") {
      faults.count(fault.forMs > plan.leaseMs ? "pause-past-lease" : "pause");
      world.note(worker.name, `pauses for ${fault.forMs} ms${when}`);
      worker.gate.pause();
      world.schedule(fault.forMs, () => {
        if (worker.gate.isOpen || worker.gate.isShut) return;
        world.note(worker.name, "goes on");
        witness.disturb(worker.name, world.elapsed, "went on");
        worker.gate.resume();
      });
      return;
    }
    faults.count("crash");
    world.note(worker.name, `crashes${when}`);
    worker.gate.shut();
    this.alive.delete(worker.slot);
    // Its reader must take nothing more; what it holds stays its own until the lease runs out.
    void worker.backend.close();
    this.#comeBack(worker.slot, fault.backAfterMs);
  }

  #drain(worker: Worker, fault: Extract<FaultPlan, { kind: "drain" }>): void {
    const { world, faults, witness } = this.#stage;
    witness.disturb(worker.name, world.elapsed, "drain");
    faults.count("drain");
    world.note(worker.name, `drains within ${fault.graceMs} ms`);
    worker.drainsBy = world.elapsed + fault.graceMs;
    void worker.runtime.drain(fault.graceMs).then(async () => {
      if (this.alive.get(worker.slot) !== worker) return;
      world.note(worker.name, "has drained");
      this.alive.delete(worker.slot);
      await worker.backend.close();
      this.#comeBack(worker.slot, fault.backAfterMs);
    });
  }

  #comeBack(slot: number, afterMs: number): void {
    this.#stage.world.schedule(afterMs, () => void this.start(slot));
  }
}
