import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { journalEntryShape, type StepRecord } from "../../machines/contracts/domain/record.ts";
import { type } from "arktype";
import type { Command } from "../command.ts";
import { withBackend } from "../compose/choose-store.ts";
import { CliError } from "../output/errors.ts";
import type { Output } from "../output/output.ts";

/** `steps show`: what the store keeps of a step, for whoever wonders what it waits for. */
export const showStep: Command = ({ config, invocation, output }) =>
  withBackend(config, "steps", async (backend) => {
    const [runId = "", stepId = ""] = invocation.args;
    const record = await backend.store.find({ runId, stepId });
    if (record === null) {
      const where = `in ${backend.describe}`;
      throw new CliError(2, `nothing is kept of step ${stepId} of run ${runId} ${where}`);
    }
    if (output.isJson) output.json(record);
    else show(record, output);
    return 0;
  });

const phases: Readonly<Record<StepRecord["phase"], string>> = {
  open: "open (a worker has it, or its lease is running out)",
  parked: "parked (it waits as data; no worker has it)",
  recorded: "recorded (the result is kept and not yet acknowledged)",
  reported: "reported (it has ended at the control plane)",
};

function show(record: StepRecord, output: Output): void {
  output.pairs([
    ["run", record.runId],
    ["step", record.stepId],
    ["type", record.job?.stepType ?? notKept(record, "unknown")],
    ["phase", phases[record.phase]],
    ["fence", String(record.fence)],
    ["states", record.stateHistory.join(" ▶ ") || notKept(record, "none yet")],
    ["state", stateOf(record) ?? notKept(record, "no snapshot yet")],
    ["wakes", record.wakeAt === null ? "never by itself" : iso(record.wakeAt)],
  ]);
  const rows = effectRows(record.journal);
  if (rows.length > 0) {
    output.line("");
    output.table(["EFFECT", "BEGUN", "COMPLETED"], rows);
  }
  if (record.result !== null && record.result !== undefined) {
    output.line("");
    output.document(record.result);
  }
}

/** Of a step that has ended only that much is remembered. */
const notKept = ({ phase }: StepRecord, before: string) =>
  phase === "reported" ? "no longer kept" : before;

/** The journal, a line an effect. */
function effectRows(journal: readonly unknown[]): string[][] {
  const rows = new Map<string, { begun: string; completed: string }>();
  for (const line of journal) {
    const entry = journalEntryShape(line);
    if (entry instanceof type.errors) {
      rows.set(`(entry ${rows.size + 1} can't be read)`, { begun: "", completed: "" });
      continue;
    }
    if (entry.event === "abandoned") {
      rows.set(`(attempt abandoned: ${entry.message})`, { begun: iso(entry.at), completed: "" });
      continue;
    }
    const row = rows.get(entry.effect) ?? { begun: "", completed: "no" };
    rows.set(entry.effect, { ...row, [entry.event]: iso(entry.at) });
  }
  return [...rows].map(([effect, { begun, completed }]) => [effect, begun, completed]);
}

/** The state in a kept snapshot; a snapshot is data from outside. */
function stateOf({ snapshot: kept }: StepRecord): string | null {
  const snapshot = isJsonObject(kept) ? kept["snapshot"] : null;
  const value = isJsonObject(snapshot) ? snapshot["value"] : undefined;
  if (value === undefined) return null;
  return typeof value === "string" ? value : JSON.stringify(value);
}

const iso = (at: number) => (Number.isFinite(at) ? new Date(at).toISOString() : String(at));
