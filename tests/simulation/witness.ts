import { firstToolbox, type Toolbox } from "./neighbours.ts";
import type { CallPlan, StepKind } from "./plan.ts";

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
  /** Which of an agent's calls, `turn.call`; null for a step's only one. */
  call: string | null;
  by: string;
  /** When it was made, and when the worker asked for it: a pause between the two is beyond anyone's reach. */
  at: number;
  askedAt: number;
  isUnsafe: boolean;
  /** False when the host said cleanly that it was never sent. */
  mayHaveRun: boolean;
  how: CallPlan["how"];
  /** Stands in its result, and in no other. */
  token: string;
  /** When a running worker had its answer; null while it has none. */
  answeredAt: number | null;
  /** Another worker had opened the step when this was asked for. */
  isStale: boolean;
  /** Identifies the effect where the port tells: models. */
  key: string | null;
  /** Where its tool was, and which arguments it took. */
  tools: Toolbox;
  /** As its model was offered the tool; null where no model called it. */
  offered: string | null;
}

/** What a model was shown of one of its calls. */
export interface Told {
  stepId: string;
  call: string;
  at: number;
  content: string;
}

export interface SeenReport {
  stepId: string;
  by: string;
  /** When it arrived, and when the worker asked for it to be sent. */
  at: number;
  askedAt: number;
  isStale: boolean;
  status: string;
  failure: string | null;
  reception: string;
}

/** One line of a worker's log that a person sees: `info` and above. */
export interface LogLine {
  by: string;
  at: number;
  stepId: string | null;
  message: string;
}

/** How a step ended in one worker. */
export interface SeenEnd {
  by: string;
  at: number;
  stepId: string;
  how: string;
  /** States it passed in this worker and before. */
  states: number;
}

/** Something that may cost a worker its steps: each of them may be delivered once more for it. */
export interface Disturbance {
  by: string;
  at: number;
  kind: string;
}

/** What really happened, written down where no fault can reach: the ground that promises are checked on. */
export class Witness {
  readonly openings = new Map<string, Opening[]>();
  readonly effects: EffectCall[] = [];
  readonly told: Told[] = [];
  /** When a worker had the control plane's word on a step's tool, or one call of it. */
  readonly looks: { stepId: string; call: string | null; by: string; at: number }[] = [];
  /** When a worker had to wait for the store with something of a step. */
  readonly waits: { stepId: string; by: string; at: number }[] = [];
  readonly reports: SeenReport[] = [];
  /** Reports that failed on their way, as the worker learnt. */
  readonly delayed: Omit<SeenReport, "reception">[] = [];
  readonly lines: LogLine[] = [];
  readonly ends: SeenEnd[] = [];
  readonly disturbances: Disturbance[] = [];
  /** By worker, what it denied when it started. */
  readonly denied = new Map<string, string | null>();
  /** Writes of a step that the store took, with when. */
  readonly writes = new Map<string, number[]>();
  /** The spans of time whose writes the store forgot. */
  readonly forgotten: { from: number; to: number }[] = [];
  /** Steps whose dead letter a person put back, with when. */
  readonly retried = new Map<string, number>();
  /** Effects whose completion was written, `step effect`, with when. */
  readonly completed = new Map<string, number>();
  /** By `step digest`: the effects that were begun with this grant. */
  readonly spent = new Map<string, Set<string>>();
  /** What the tools became, and when. */
  readonly toolChanges: { at: number; tools: Toolbox }[] = [];
  readonly jumps: number[] = [];
  /** What nobody expected: errors logged, actors crashed, workers that stopped by themselves. */
  readonly unexpected: string[] = [];
  readonly overfull: string[] = [];
  /** Steps taken from a worker that nothing had disturbed. */
  readonly robbed: string[] = [];
  /** Who holds a step: opened it, and neither parked nor settled it since. */
  readonly holders = new Map<string, string>();

  toolsAt(at: number): Toolbox {
    return this.toolChanges.findLast((change) => change.at <= at)?.tools ?? firstToolbox;
  }

  disturb(by: string, at: number, kind: string): void {
    this.disturbances.push({ by, at, kind });
  }

  /** Whether anything struck this worker, or all of them, in this span. */
  isDisturbed(by: string, from: number, to: number): boolean {
    return this.disturbances.some(
      (one) => (one.by === by || one.by === "all") && one.at >= from && one.at <= to,
    );
  }

  wrote(stepId: string, at: number): void {
    this.writes.set(stepId, [...(this.writes.get(stepId) ?? []), at]);
  }

  /** Whether the store took a write of this step and forgot it. */
  isForgotten(stepId: string): boolean {
    return (this.writes.get(stepId) ?? []).some((at) =>
      this.forgotten.some(({ from, to }) => at >= from && at <= to),
    );
  }

  opened(stepId: string, opening: Opening): void {
    const holder = this.holders.get(stepId);
    const isOther = holder !== undefined && holder !== opening.by;
    if (isOther && !this.isDisturbed(holder, 0, opening.at)) {
      this.robbed.push(`${stepId} from ${holder} by ${opening.by}`);
    }
    this.holders.set(stepId, opening.by);
    const known = this.openings.get(stepId) ?? [];
    known.push(opening);
    this.openings.set(stepId, known);
  }

  /** Whether another worker had opened the step after this one did. */
  isStale(stepId: string, by: string, at: number): boolean {
    const last = this.openings.get(stepId)?.findLast((opening) => opening.at <= at);
    return last !== undefined && last.by !== by;
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
