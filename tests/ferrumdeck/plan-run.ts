import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { StepType } from "../../machines/contracts/domain/job.ts";

/** What happens to a run besides its step's own work. */
export const fates = [
  "nothing",
  /** Cancelled before any worker can have its job. */
  "cancelled-queued",
  /** Cancelled while the work goes on, which ends only when it is told. */
  "cancelled-working",
  /** Cancelled while a person is asked. */
  "cancelled-parked",
  "approved",
  "rejected",
  /** Nobody answers; the gateway fails the run and tells nobody. */
  "expired",
  /** Its finished job is put on the stream again, as when a group is made anew over an untrimmed stream. */
  "redelivered",
  /** Its job is on the stream twice from the start. */
  "doubled",
] as const;
export type Fate = (typeof fates)[number];

export interface PlannedRun {
  runId: string;
  stepId: string;
  stepType: StepType;
  input: JsonObject;
  fate: Fate;
  /** What the gateway may show of the run at last. */
  mayEnd: readonly string[];
  /** How often its effect may have been had. */
  effects: { least: number; most: number };
}

const once = { least: 1, most: 1 };
const never = { least: 0, most: 0 };
const perhaps = { least: 0, most: 1 };

/** Work that only a cancellation ends. */
export const endless = "work until you are cancelled";

/** What a model or tool says: foreign text of the kinds that strict databases and parsers refuse. */
export const oddTexts = [
  "plain",
  "nul \0 inside",
  "half \uD800 a pair",
  `${"😀".repeat(4_000)}`,
  '{"json":"\\u0000"}',
];

/** The run of that number: its type and fate by turns, so that each meets each. */
export function planRun(number: number, room: string): PlannedRun {
  const ids = { runId: `run_${room}_${number}`, stepId: `stp_${room}_${number}` };
  const fate = fates[number % fates.length] ?? "nothing";
  const turn = Math.floor(number / fates.length);
  const odd = oddTexts[turn % oddTexts.length] ?? "";
  const input = { ref: ids.runId, odd };
  const write = { tool_name: "write", tool_input: input };
  switch (fate) {
    case "cancelled-parked":
    case "approved":
    case "rejected":
    case "expired": {
      const isStep = turn % 3 === 2;
      const stepType = isStep ? ("approval" as const) : ("tool" as const);
      const yes = fate === "approved";
      const end = yes ? "completed" : fate === "cancelled-parked" ? "cancelled" : "failed";
      return {
        ...ids,
        stepType,
        input: isStep ? { message: "may it?" } : write,
        fate,
        mayEnd: [end],
        effects: yes && !isStep ? once : never,
      };
    }
    case "cancelled-working":
      return {
        ...ids,
        stepType: "llm",
        input: { task: endless, ref: ids.runId },
        fate,
        mayEnd: ["cancelled"],
        effects: perhaps,
      };
    default: {
      const types = ["llm", "tool", "retrieval", "denied"] as const;
      const type = types[turn % types.length] ?? "llm";
      const isCancelled = fate === "cancelled-queued";
      const end = type === "denied" ? "policyblocked" : "completed";
      const documents = [{ id: "d", content: `what ${odd}` }];
      return {
        ...ids,
        stepType: type === "denied" ? "tool" : type,
        input:
          type === "llm"
            ? { task: odd, ref: ids.runId }
            : type === "retrieval"
              ? { query: "what", documents }
              : { tool_name: type === "tool" ? "read" : "erase", tool_input: input },
        fate,
        // The gateway blocks the run, and the step's own report then fails it.
        mayEnd: isCancelled ? ["cancelled"] : type === "denied" ? [end, "failed"] : [end],
        effects:
          isCancelled || type === "denied" ? never : type === "llm" ? once : { least: 0, most: 3 },
      };
    }
  }
}
