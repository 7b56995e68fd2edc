import { DatabaseSync } from "node:sqlite";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Touch } from "./ledger.ts";
import { repeatOf } from "./plan-step.ts";

export interface Results {
  steps: number;
  /** Results applied by the control plane. */
  reports: number;
  /** Results applied to a step that already had one. */
  duplicates: number;
  /** Steps that never had one. */
  lost: number;
  /** Touches of unsafe effects beyond the first, less those that a person had allowed before they happened. */
  repeated: number;
  /** Touches that policy wants a person's yes for, and that came before any. */
  unpermitted: number;
  /** Steps whose result is a failure. */
  failed: number;
  /** Questions put to a person: by policy, and about effects in doubt. */
  questions: { policy: number; inDoubt: number };
  touches: number;
  /** Why steps failed, by kind. */
  failures: Record<string, number>;
}

interface StepDoc {
  id: string;
  name: string;
  status: string;
  error: { kind?: string } | null;
}
interface ApprovalDoc {
  stepId: string;
  actionDetails: JsonObject;
  status: string;
  resolvedAt: number | null;
}
interface AuditDoc {
  event: string;
  details: { step_id?: string };
}

/**
 * Counts from what cannot be talked out of it: the control plane's own audit of the results it applied, its
 * approvals, and the ledger that every process wrote to as it touched the world.
 *
 * @param path the control plane's file; it must have ended, since it holds the file alone
 */
export function countResults(path: string, touches: readonly Touch[]): Results {
  const db = new DatabaseSync(path, { readOnly: true });
  const docs = <T>(table: string) =>
    db
      .prepare(`SELECT doc FROM ${table}`)
      .all()
      .map((row) => JSON.parse(String(row["doc"])) as T);
  const steps = docs<StepDoc>("steps");
  const approvals = docs<ApprovalDoc>("approvals");
  const audit = docs<AuditDoc>("audit_chain");
  db.close();

  const applied = new Map<string, number>();
  for (const { event, details } of audit) {
    if (event !== "step.completed" && event !== "step.failed") continue;
    const id = details.step_id ?? "";
    applied.set(id, (applied.get(id) ?? 0) + 1);
  }
  const reports = [...applied.values()].reduce((sum, times) => sum + times, 0);
  const failures: Record<string, number> = {};
  for (const { status, error } of steps) {
    if (status !== "failed") continue;
    const kind = error?.kind ?? "unknown";
    failures[kind] = (failures[kind] ?? 0) + 1;
  }
  const inDoubt = approvals.filter(({ actionDetails }) => repeatOf(actionDetails) !== null).length;
  return {
    steps: steps.length,
    reports,
    duplicates: reports - applied.size,
    lost: steps.filter(({ id }) => !applied.has(id)).length,
    ...unseen(steps, approvals, touches),
    failed: steps.filter(({ status }) => status === "failed").length,
    questions: { policy: approvals.length - inDoubt, inDoubt },
    touches: touches.length,
    failures,
  };
}

/** The n-th repeat of an unsafe effect needs n people to have said yes to a repeat before it happened. */
function unseen(
  steps: readonly StepDoc[],
  approvals: readonly ApprovalDoc[],
  touches: readonly Touch[],
): { repeated: number; unpermitted: number } {
  const orders = new Map(steps.map(({ id, name }) => [id, name]));
  const given = new Map<string, number[]>();
  for (const { stepId, actionDetails, status, resolvedAt } of approvals) {
    if (status !== "approved" || resolvedAt === null) continue;
    const what = repeatOf(actionDetails)?.replace(/^tool:/, "") ?? "itself";
    const key = `${orders.get(stepId)} ${what}`;
    given.set(key, [...(given.get(key) ?? []), resolvedAt]);
  }
  const allowedBefore = (key: string, at: number) =>
    (given.get(key) ?? []).filter((time) => time <= at).length;

  const byEffect = new Map<string, Touch[]>();
  for (const touch of touches) {
    const key = `${touch.order} ${touch.effect}`;
    byEffect.set(key, [...(byEffect.get(key) ?? []), touch]);
  }
  let repeated = 0;
  let unpermitted = 0;
  for (const [key, made] of byEffect) {
    const inOrder = made.sort((a, b) => a.at - b.at);
    inOrder.forEach(({ order, effect, repeat, at }, repeats) => {
      if (repeat === "unsafe" && allowedBefore(key, at) < repeats) repeated += 1;
      if (effect.endsWith("-asked") && allowedBefore(`${order} itself`, at) === 0) unpermitted += 1;
    });
  }
  return { repeated, unpermitted };
}
