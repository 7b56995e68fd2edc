import type { FaultPlan, PlaneCall } from "./plan.ts";

type Kind = FaultPlan["kind"];
export type Armed<K extends Kind> = Extract<FaultPlan, { kind: K }>;

const rough = [
  "crash",
  "pause",
  "pause-past-lease",
  "drain",
  "store-away",
  "store-answer-lost",
  "clock-jump",
];

/** The faults under way: those armed and waiting for their call, and what is away; each counted when it strikes. */
export class Weather {
  readonly counts: Record<string, number> = {};
  isPlaneAway = false;
  /** Slots whose store is away. */
  readonly storeAway = new Set<number>();
  #armed: FaultPlan[] = [];

  /** Whether anything struck so far that may cost a worker its lease. */
  get isRough(): boolean {
    return rough.some((kind) => this.counts[kind] !== undefined);
  }

  arm(fault: FaultPlan): void {
    this.#armed.push(fault);
  }

  calm(): void {
    this.#armed = [];
    this.isPlaneAway = false;
    this.storeAway.clear();
  }

  count(kind: string): void {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
  }

  /** The crash or pause that waits for this call of this worker, if one does. */
  strike(worker: number, call: string, side: "before" | "after") {
    return this.#take(
      (fault) =>
        (fault.kind === "crash" || fault.kind === "pause") &&
        fault.worker === worker &&
        fault.on?.call === call &&
        fault.on.side === side,
    ) as Armed<"crash"> | Armed<"pause"> | undefined;
  }

  isStoreAnswerLost(worker: number): boolean {
    const isIt = (fault: FaultPlan) =>
      fault.kind === "store-answer-lost" && fault.worker === worker;
    if (this.#take(isIt) === undefined) return false;
    this.count("store-answer-lost");
    return true;
  }

  /** What happens to this call on its way to the control plane and back. */
  onTheWay(call: PlaneCall) {
    const taken = this.#take((fault) => "call" in fault && fault.call === call);
    if (taken === undefined || !("call" in taken)) return undefined;
    this.count(taken.kind);
    return taken;
  }

  #take(isIt: (fault: FaultPlan) => boolean): FaultPlan | undefined {
    const at = this.#armed.findIndex(isIt);
    return at === -1 ? undefined : this.#armed.splice(at, 1)[0];
  }
}
