import { StoreError } from "../../machines/contracts/domain/errors.ts";
import type { FaultPlan, Misanswer, PlaneCall } from "./plan.ts";

type Kind = FaultPlan["kind"];
export type Armed<K extends Kind> = Extract<FaultPlan, { kind: K }>;

/** How a store fails for a while. */
export type StoreTrouble = "away" | "full" | "read-only" | "refusing";

/** Verbs that a store without memory still takes: they add nothing. */
const addsNothing = new Set(
  "read claimStale renew release find stats deadLetters findDeadLetter dropDeadLetter".split(" "),
);
const readsOnly = new Set(["find", "stats", "deadLetters", "findDeadLetter"]);

/** The faults under way: those armed and waiting for their call, and what is away; each counted when it strikes. */
export class ActiveFaults {
  readonly counts: Record<string, number> = {};
  isPlaneAway = false;
  isKeyRefused = false;
  /** What answers in the control plane's place, if something does. */
  proxy: Misanswer | null = null;
  healthLateMs = 0;
  artifacts: "passing" | "ours" | null = null;
  areToolsAway = false;
  /** Steps whose records can't be used, for ever. */
  readonly unusable = new Set<string>();
  /** Steps whose completed results the control plane refuses. */
  readonly refused = new Set<string>();
  /** By slot. */
  readonly #stores = new Map<number, StoreTrouble>();
  #armed: FaultPlan[] = [];

  arm(fault: FaultPlan): void {
    this.#armed.push(fault);
  }

  calm(): void {
    this.#armed = [];
    this.isPlaneAway = false;
    this.isKeyRefused = false;
    this.proxy = null;
    this.healthLateMs = 0;
    this.artifacts = null;
    this.areToolsAway = false;
    this.refused.clear();
    this.#stores.clear();
  }

  count(kind: string): void {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
  }

  isStoreAway(slot: number): boolean {
    return this.#stores.get(slot) === "away";
  }

  trouble(slot: number, how: StoreTrouble): void {
    this.#stores.set(slot, how);
  }

  /** Over, unless another one has begun since. */
  endTrouble(slot: number, how: StoreTrouble): void {
    if (this.#stores.get(slot) === how) this.#stores.delete(slot);
  }

  /** @throws StoreError when this store does not do this now, classified as its adapter would */
  checkStore(slot: number, method: string, stepId: string | null): void {
    if (stepId !== null && this.unusable.has(stepId)) {
      throw new StoreError("step", "WRONGTYPE Operation against a key holding the wrong kind");
    }
    switch (this.#stores.get(slot)) {
      case "away":
        throw new StoreError("passing", "connect ECONNREFUSED");
      case "full":
        if (addsNothing.has(method)) return;
        throw new StoreError("passing", "OOM command not allowed when used memory > 'maxmemory'");
      case "read-only":
        if (readsOnly.has(method)) return;
        throw new StoreError("passing", "READONLY You can't write against a read only replica");
      case "refusing":
        throw new StoreError("ours", "WRONGPASS invalid username-password pair");
    }
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

  /** Takes the fault that waits for this call of an agent, if one does; its worker dies before the call is journalled. */
  cutsTurn(stepId: string, call: string | null, worker: number): Armed<"turn-cut"> | undefined {
    const taken = this.#take(
      (fault) => fault.kind === "turn-cut" && fault.stepId === stepId && fault.call === call,
    ) as Armed<"turn-cut"> | undefined;
    if (taken === undefined) return undefined;
    this.count(taken.kind);
    const on = { call: "tools.call", side: "after" } as const;
    const { at, backAfterMs } = taken;
    this.#armed.unshift({ kind: "crash", at, worker, on, backAfterMs });
    return taken;
  }

  isStoreAnswerLost(worker: number): boolean {
    return this.#strikes("store-answer-lost", (fault) => fault.worker === worker);
  }

  throws(call: string): boolean {
    return this.#strikes("neighbour-throws", (fault) => fault.call === call);
  }

  /** How soon after this moment in its parking the step's run is cancelled; null when it is not. */
  cancelsParked(stepId: string, after: "asked" | "approved"): number | null {
    const taken = this.#take(
      (fault) => fault.kind === "cancel-parked" && fault.stepId === stepId && fault.after === after,
    ) as Armed<"cancel-parked"> | undefined;
    if (taken === undefined) return null;
    this.count(taken.kind);
    return taken.byMs;
  }

  /** What happens to this call on its way to the control plane and back. */
  onTheWay(call: PlaneCall) {
    const taken = this.#take(
      (fault) =>
        "call" in fault &&
        fault.kind !== "neighbour-throws" &&
        fault.kind !== "turn-cut" &&
        fault.call === call,
    ) as OnTheWay | undefined;
    if (taken !== undefined) this.count(taken.kind);
    return taken;
  }

  #strikes<K extends Kind>(kind: K, isIt: (fault: Armed<K>) => boolean): boolean {
    const taken = this.#take((fault) => fault.kind === kind && isIt(fault as Armed<K>));
    if (taken !== undefined) this.count(kind);
    return taken !== undefined;
  }

  #take(isIt: (fault: FaultPlan) => boolean): FaultPlan | undefined {
    const at = this.#armed.findIndex(isIt);
    return at === -1 ? undefined : this.#armed.splice(at, 1)[0];
  }
}

type OnTheWay = Armed<
  "request-lost" | "answer-lost" | "request-late" | "answer-late" | "throttled" | "misanswered"
>;
