import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import {
  journalEntryShape,
  type StepKey,
  type StepRecord,
} from "../../machines/contracts/domain/record.ts";
import { type } from "arktype";
import { commandLine, word } from "../called-as.ts";
import type { Command, Context } from "../command.ts";
import { withBackend } from "../compose/choose-store.ts";
import { CliError } from "../output/errors.ts";
import { plain } from "../output/plain.ts";
import type { Output } from "../output/output.ts";
import { withControlPlane } from "./with-control-plane.ts";

/** `steps show`: what the store keeps of a step, for whoever wonders what it waits for. */
export const showStep: Command = async (context) => {
  const { config, output } = context;
  const { runId, stepId } = await namedStep(context);
  return withBackend(config, "steps", async (backend) => {
    const record = await backend.store.find({ runId, stepId });
    if (record === null) {
      const where = `in ${backend.describe}`;
      throw new CliError(2, `there is no record of step ${stepId} of run ${runId} ${where}`);
    }
    if (output.isJson) output.json(record);
    else show(record, output);
    return 0;
  });
};

/** The store keeps a step under its run: where only the step is named, the control plane is asked for that. */
export async function namedStep(context: Context): Promise<StepKey> {
  const [first = "", stepId] = context.invocation.args;
  if (stepId !== undefined) return { runId: first, stepId };
  return withControlPlane(context, async ({ api, signal, value }) => {
    const found = await api.step(first, signal);
    if (found.ok || found.failure.kind !== "not_found") {
      return { runId: (await value(Promise.resolve(found))).run_id, stepId: first };
    }
    const whole = commandLine(`${context.invocation.command} RUN ${word(first)}`);
    throw new CliError(
      2,
      `the control plane has no step ${first} by that id alone; name its run too: ${whole}`,
    );
  });
}

const phases: Readonly<Record<StepRecord["phase"], string>> = {
  open: "open (a worker has it, or its lease has not expired yet)",
  parked: "parked (waiting in the store; no worker holds it)",
  recorded: "recorded (the result is stored and not yet acknowledged)",
  reported: "reported (it has ended at the control plane)",
};

function show(record: StepRecord, output: Output): void {
  output.pairs([
    ["run", record.runId],
    ["step", record.stepId],
    ...fact("type", record.job?.stepType),
    ["phase", phases[record.phase]],
    ["fence", String(record.fence)],
    ...fact("states", record.stateHistory.join(" ▶ ")),
    ...fact("state", stateOf(record)),
    ...fact("waits for", record.phase === "parked" ? waitsFor(record) : null),
    ...fact("wakes", record.wakeAt === null ? null : iso(record.wakeAt)),
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

/** A line, where there is anything to say: a young record has no states yet, and of one that ended little is kept. */
const fact = (name: string, value: string | null | undefined): [string, string][] =>
  value ? [[name, value]] : [];

/** The journal, a line an effect. */
function effectRows(journal: readonly unknown[]): string[][] {
  const rows = new Map<string, { begun: string; completed: string }>();
  for (const line of journal) {
    const entry = journalEntryShape()(line);
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

/** Why a step that is put away could not go on: the failure after which it is tried again, or its questions to people. */
function waitsFor({ snapshot: kept }: StepRecord): string | null {
  const snapshot = isJsonObject(kept) ? kept["snapshot"] : null;
  const context = isJsonObject(snapshot) ? snapshot["context"] : null;
  if (!isJsonObject(context)) return null;
  const { waitsFor: reason, asks } = context;
  if (typeof reason === "string") return plain(reason);
  const isAsking = Array.isArray(asks) && asks.length > 0;
  return isAsking ? `a person's answer: ${commandLine("approvals list")}` : null;
}

/** The state in a kept snapshot; a snapshot is data from outside. */
function stateOf({ snapshot: kept }: StepRecord): string | null {
  const snapshot = isJsonObject(kept) ? kept["snapshot"] : null;
  const value = isJsonObject(snapshot) ? snapshot["value"] : undefined;
  if (value === undefined) return null;
  return typeof value === "string" ? value : dotted(value);
}

/** `executing.working`, as Stately's tools write it. */
function dotted(value: unknown): string {
  if (!isJsonObject(value)) return String(value);
  return Object.entries(value)
    .map(([name, inner]) => `${name}.${dotted(inner)}`)
    .join(", ");
}

const iso = (at: number) => (Number.isFinite(at) ? new Date(at).toISOString() : String(at));
