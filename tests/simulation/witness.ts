import type { StepKind } from "./plan.ts";

export interface Opening {
  by: string;
  fence: number;
  at: number;
}

/** One call of a tool, a model or a sandbox, seen as it was made. */
export interface EffectCall {
  stepId: string;
  kind: StepKind;
  name: string;
  by: string;
  /** When it was made, and when the worker asked for it: a pause between the two is beyond anyone's reach. */
  at: number;
  askedAt: number;
  isUnsafe: boolean;
  /** False when the host said cleanly that it was never sent. */
  mayHaveRun: boolean;
  /** Another worker had opened the step when this was asked for. */
  isStale: boolean;
  /** Identifies the effect where the port tells: models. */
  key: string | null;
}

export interface SeenReport {
  stepId: string;
  by: string;
  /** When the worker asked for it to be sent. */
  at: number;
  isStale: boolean;
  status: string;
  failure: string | null;
  reception: string;
}

/** What really happened, written down where no fault can reach: the ground that promises are checked on. */
export class Witness {
  readonly openings = new Map<string, Opening[]>();
  readonly effects: EffectCall[] = [];
  readonly reports: SeenReport[] = [];
  /** Effects whose completion was written, `step effect`, with when. */
  readonly completed = new Map<string, number>();
  /** By `step digest`: the effects that were begun with this grant. */
  readonly spent = new Map<string, Set<string>>();
  readonly jumps: number[] = [];
  /** What nobody expected: errors logged, actors crashed, workers that stopped by themselves. */
  readonly unexpected: string[] = [];
  readonly overfull: string[] = [];
  /** Steps taken from a worker that nothing had disturbed. */
  readonly robbed: string[] = [];
  /** Who holds a step: opened it, and neither parked nor settled it since. */
  readonly holders = new Map<string, string>();

  opened(stepId: string, opening: Opening, isDisturbed: boolean): void {
    const holder = this.holders.get(stepId);
    if (holder !== undefined && !isDisturbed) {
      this.robbed.push(`${stepId} from ${holder} by ${opening.by}`);
    }
    this.holders.set(stepId, opening.by);
    const known = this.openings.get(stepId) ?? [];
    known.push(opening);
    this.openings.set(stepId, known);
  }

  /** Whether another worker had opened the step after this one did. */
  isStale(stepId: string, by: string, at: number): boolean {
    return this.openings.get(stepId)?.findLast((opening) => opening.at <= at)?.by !== by;
  }

  /** Whether wall clocks jumped since this worker opened the step: leases run out unseen then. */
  isJumped(stepId: string, by: string, until: number): boolean {
    const opened = this.openings
      .get(stepId)
      ?.findLast((opening) => opening.by === by && opening.at <= until);
    const since = opened?.at ?? 0;
    return this.jumps.some((at) => at >= since && at <= until);
  }
}
