import type { Action, Verdict } from "../../machines/contracts/domain/action.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import type { RecordedEffect, StepRecording } from "../../machines/contracts/domain/recording.ts";
import type { StepResult } from "../../machines/contracts/domain/step-result.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { SchemaChecker } from "../../machines/contracts/ports/schema-checker.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { RuntimeOptions } from "../options.ts";

/**
 * `served` from the recording; `made`, after the fork; `refused`: neither recorded nor allowed; `failed`: a model that was
 * to be asked and gave no answer; `not made`: a call that policy, a person or the tool's own schema let nobody make.
 */
export type Served = "served" | "made" | "refused" | "failed" | "not made";

/** What a replay tells as it goes. */
export type ReplayEvent =
  | { type: "state"; state: string }
  | { type: "verdict"; verdict: Verdict; action: Action }
  | { type: "approval"; action: Action; answer: "approved" | "rejected" | "expired" | "pending" }
  | { type: "forked"; number: number; effect: string; differs: readonly string[] }
  | {
      type: "effect";
      /** Which one of this walk, from 1. */
      number: number;
      effect: string;
      kind: RecordedEffect["kind"];
      name: string;
      how: Served;
      input: Json;
      /** `{value}` or `{failure}`. */
      outcome: Json;
      /** The parts of what went in that are not as recorded. */
      differs: readonly string[];
    };

/** What a replay is to do. */
export interface ReplayPlan {
  recording: StepRecording;
  /** Of the step's input, in place of what was recorded. */
  changes: { model?: string; system_prompt?: string };
  /** In place of the verdicts that were recorded. */
  policy?: Pick<RuntimeOptions, "allowlist" | "policy">;
  /** Judges calls that may really be made and were never judged. */
  newPolicy: Pick<RuntimeOptions, "allowlist" | "policy">;
  /** Whether it may go other ways than the recording: then a model may be asked. */
  isChanged: boolean;
  /** The number of the first effect that is not served; null for the first one that differs. */
  forkAt: number | null;
  /** Which calls that were never recorded are made. */
  newCalls: "none" | "safe" | "all";
  /** Recorded calls are made anew, too, where `newCalls` allows it. */
  remakesCalls?: boolean;
  /** Asked from the fork on; null where there is none. */
  models: ModelProvider | null;
  /** Called from the fork on, where `newCalls` allows it; null where there are none. */
  tools: ToolHost | null;
  /** Work of the user's own in place of a step type's: its effects are served. */
  options: Pick<
    RuntimeOptions,
    "handlers" | "defaultModel" | "maxIterations" | "maxReportBytes" | "inDoubt" | "limits"
  >;
  /** Where long results of the recording are read from; nothing is written there. */
  artifacts: Pick<ArtifactStore, "get">;
  schemas: SchemaChecker;
  /** A store of the replay's own, in memory; closed by who made it. */
  backend: StepBackend;
  onEvent(event: ReplayEvent): void;
}

/** How a replay came out. */
export interface ReplayEnd {
  /** What the step came to; null where the walk ended before. */
  result: StepResult | null;
  /** Why the walk ended before the step did; null where it did not. */
  stoppedBecause: string | null;
  states: readonly string[];
  /** The number of the first effect that was not served; null where all were. */
  forkedAt: number | null;
  /** What is not as recorded, a sentence each. */
  differences: readonly string[];
  served: number;
  made: number;
  refused: number;
}
