import { type } from "arktype";
import { dollars } from "../../machines/contracts/domain/budget.ts";
import { isRunEnded, isStepEnded } from "../../machines/contracts/domain/status.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import {
  type ApprovalView,
  type RunView,
  type StepView,
  type TraceView,
  traceView,
} from "../../machines/contracts/wire/views.ts";
import type { Command } from "../command.ts";
import { type Branch, printTree } from "../output/tree.ts";
import { keyLabel } from "./approvals.ts";
import { plain } from "../output/plain.ts";
import { stepWord, whyEnded } from "./runs.ts";
import { withControlPlane } from "./with-control-plane.ts";

/** A piece of a run: the run itself, a step, an effect, or the time between them. */
export interface TraceNode {
  name: string;
  status: string | null;
  /** Epoch milliseconds; null where it has not begun, or has not ended. */
  from: number | null;
  to: number | null;
  /** What it took, in milliseconds; of `between` what is left of its parent's. Null where it has not ended. */
  ms: number | null;
  tokens: number | null;
  /** Null where nothing was used, or where the price is not known. */
  costMicros: number | null;
  /** Why a step failed, or was cut short. */
  why: string | null;
  children: TraceNode[];
}

const mostNamed = 5;

/** `runs trace`. */
export const traceRun: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const id = invocation.args[0] ?? "";
    const [run, steps, asked] = await Promise.all([
      value(api.run(id, signal)),
      value(api.steps(id, signal)),
      api.approvalsOf(id, signal),
    ]);
    const tree = traceTree(run, steps, asked.ok ? asked.value : []);
    if (output.isJson) {
      output.json({ trace_id: run.trace_id ?? null, ...toJson(tree) });
      return 0;
    }
    if (run.trace_id) output.line(`trace ${run.trace_id}`);
    const headings = ["WHAT", "STATUS", "TOOK", "TOKENS", "COST"];
    printTree(headings, toBranch(tree), output);
    const failed = tree.children.filter(({ why }) => why !== null);
    if (failed.length > 0) output.line("");
    for (const { name, status, why } of failed) output.prose(`${name} ${status}: ${why}`);
    const untold = untoldOf(steps);
    if (untold !== null) output.remark(untold);
    return 0;
  });

/** Of which steps the effects are not known; null where all are. A step that never began has none. */
export function untoldOf(steps: readonly StepView[]): string | null {
  const untold = steps.filter(
    (step) =>
      isStepEnded(step.status) && stepWord(step) !== "skipped" && !traceView().allows(step.trace),
  );
  if (untold.length === 0) return null;
  const names = untold.map(({ name, id }) => plain(name ?? id));
  const more = names.length > mostNamed ? `, and ${names.length - mostNamed} more` : "";
  const named = names.slice(0, mostNamed).join(", ");
  return `no effects are listed of ${named}${more}: their worker told none, or this control plane keeps none`;
}

/**
 * A run as a tree: its steps in their order, of each what it touched in the order in which that began, and what no
 * child accounts for as `between`: policy, the queue, waiting for people and for other tries. So that what the
 * children took, where they did not overlap, comes to what their parent took; and what they cost, to what it cost.
 */
export function traceTree(
  run: RunView,
  steps: readonly StepView[],
  approvals: readonly ApprovalView[],
): TraceNode {
  const tree = node(`run ${run.id}`, run.status, run.created_at, run.completed_at);
  tree.tokens = sum([run.input_tokens, run.output_tokens]);
  tree.costMicros = run.cost_micros ?? null;
  tree.children = steps
    .toSorted((one, other) => numberOf(one) - numberOf(other))
    .map((step) =>
      stepNode(
        step,
        approvals.filter(({ step_id: of }) => of === step.id),
      ),
    );
  return withRest(tree, isRunEnded(run.status));
}

function stepNode(step: StepView, approvals: readonly ApprovalView[]): TraceNode {
  const { step_type: kind, name, status, tool_name: tool, model } = step;
  const what = name ? `"${name}"` : (tool ?? model ?? step.id);
  const tree = node(`${kind} ${what}`, stepWord(step), step.started_at, step.completed_at);
  tree.tokens = sum([step.input_tokens, step.output_tokens]);
  tree.costMicros = step.cost_micros ?? null;
  tree.why = whyEnded(step);
  const trace = traceView()(step.trace);
  const effects = trace instanceof type.errors ? [] : trace.effects.map(effectNode);
  const asked = approvals.map(
    ({ status: answer, created_at: from, resolved_at: to, resolved_by: by, ...more }) => {
      const who = by ? `asked, answered by ${keyLabel(by, more.resolved_by_name)}` : "asked";
      return node(who, answer, from, to);
    },
  );
  tree.children = [...effects, ...asked].toSorted(
    (one, other) => (one.from ?? 0) - (other.from ?? 0),
  );
  return withRest(tree, isStepEnded(status));
}

function effectNode(effect: TraceView["effects"][number]): TraceNode {
  // An id is a name and a digest; in an agent's loop it says the turn.
  const id = effect.name.replace(/#[0-9a-f]{16}#(\d+)$/u, (_, nth) =>
    nth === "1" ? "" : ` ${nth}`,
  );
  const { what, begun_at: begun, completed_at: completed } = effect;
  const name = what === undefined ? id : `${what} (${id})`;
  const own = node(name, completed === null ? "in doubt" : null, begun, completed);
  own.tokens = sum([effect.input_tokens, effect.output_tokens]);
  own.costMicros = effect.cost_micros ?? null;
  return own;
}

function node(
  name: string,
  status: string | null,
  begun: string | null | undefined,
  ended: string | null | undefined,
): TraceNode {
  const [from, to] = [instant(begun), instant(ended)];
  const ms = from === null || to === null ? null : Math.max(0, to - from);
  return { name, status, from, to, ms, tokens: null, costMicros: null, why: null, children: [] };
}

/** Adds the time and the money that no child accounts for. */
function withRest(tree: TraceNode, isOver: boolean): TraceNode {
  if (!isOver || tree.children.length === 0 || tree.ms === null) return tree;
  const left = tree.ms - covered(tree);
  const spent = tree.children.reduce((all, { costMicros }) => all + (costMicros ?? 0), 0);
  const used = tree.children.reduce((all, { tokens }) => all + (tokens ?? 0), 0);
  const [cost, tokens] = [(tree.costMicros ?? 0) - spent, (tree.tokens ?? 0) - used];
  if (left > 0 || cost > 0 || tokens > 0) {
    const rest = node("between", null, null, null);
    rest.ms = left;
    rest.tokens = tokens > 0 ? tokens : null;
    rest.costMicros = cost > 0 ? cost : null;
    tree.children.push(rest);
  }
  return tree;
}

/** Milliseconds of the node in which at least one of its children was under way. */
function covered({ from, to, children }: TraceNode): number {
  let end = from ?? 0;
  let all = 0;
  const timed = children.filter((child) => child.from !== null && child.ms !== null);
  for (const child of timed.toSorted((one, other) => (one.from ?? 0) - (other.from ?? 0))) {
    const begins = Math.max(end, child.from ?? 0);
    const ends = Math.min(to ?? Number.POSITIVE_INFINITY, child.to ?? 0);
    if (ends <= begins) continue;
    all += ends - begins;
    end = ends;
  }
  return all;
}

function toBranch({ name, status, ms, tokens, costMicros, children }: TraceNode): Branch {
  const took = ms === null ? "" : lasting(ms);
  const cost = costMicros ? dollars(costMicros) : "";
  const said = [status ?? "", took, tokens ? `${tokens} tokens` : "", cost];
  return {
    name: cutText(name, 64),
    cells: [status ?? "", took, tokens ? String(tokens) : "", cost],
    said: said.filter((text) => text !== ""),
    children: children.map(toBranch),
  };
}

const toJson = ({ from, to, ms, costMicros, children, ...rest }: TraceNode): object => ({
  ...rest,
  started_at: from === null ? null : new Date(from).toISOString(),
  completed_at: to === null ? null : new Date(to).toISOString(),
  ms,
  cost_micros: costMicros,
  children: children.map(toJson),
});

/** `12 ms`, `3.4 s`, `2 min 5 s`. */
export function lasting(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3_600)];
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min ${seconds % 60} s`;
}

function instant(text: string | null | undefined): number | null {
  const at = Date.parse(text ?? "");
  return Number.isNaN(at) ? null : at;
}

const numberOf = ({ step_number: number }: StepView): number => number ?? 0;

function sum(counts: readonly (number | null | undefined)[]): number | null {
  const known = counts.filter((count) => typeof count === "number");
  return known.length === 0 ? null : known.reduce((all, count) => all + count, 0);
}
