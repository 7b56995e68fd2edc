import {
  array,
  assert,
  constant,
  letrec,
  nat,
  oneof,
  property,
  record,
  string,
  stringMatching,
} from "fast-check";
import stringWidth from "string-width";
import { expect, test } from "vitest";
import { type TraceNode, traceTree, untoldOf } from "../../cli/commands/run-trace.ts";
import { createOutput } from "../../cli/output/output.ts";
import { type Branch, printTree } from "../../cli/output/tree.ts";
import { runView, stepView } from "../../machines/contracts/wire/views.ts";

const start = Date.parse("2026-01-01T00:00:00.000Z");
const at = (ms: number) => new Date(start + ms).toISOString();

/** A step that lasts for `ms`, with effects somewhere in it, some of which overlap. */
const steps = array(
  record({
    ms: nat(10_000),
    pause: nat(500),
    effects: array(
      record({
        from: nat(10_000),
        ms: nat(3_000),
        cost: nat(5_000),
        tokens: nat(99),
      }),
      { maxLength: 6 },
    ),
    more: nat(300),
  }),
  { maxLength: 6 },
);

test("times and costs of a tree add up, whatever overlaps [traces.tree]", () => {
  assert(
    property(steps, (given) => {
      let now = 0;
      const views = given.map(({ ms, pause, effects, more }, number) => {
        now += pause;
        const from = now;
        now += ms;
        const inside = effects.map((effect) => {
          const begun = Math.min(effect.from, ms);
          return { ...effect, begun: from + begun, ended: from + Math.min(ms, begun + effect.ms) };
        });
        const cost = inside.reduce((sum, effect) => sum + effect.cost, more);
        const tokens = inside.reduce((sum, effect) => sum + effect.tokens, 0);
        return stepView().assert({
          id: `stp_${number}`,
          run_id: "run_1",
          step_type: "llm",
          status: "completed",
          step_number: number,
          input_tokens: tokens,
          output_tokens: 0,
          started_at: at(from),
          completed_at: at(now),
          cost_micros: cost,
          trace: {
            states: ["pending", "reported"],
            effects: inside.map((effect, nth) => ({
              name: `model#0.${nth}`,
              what: "model:x/y",
              begun_at: at(effect.begun),
              completed_at: at(effect.ended),
              input_tokens: effect.tokens,
              output_tokens: 0,
              cost_micros: effect.cost,
            })),
          },
        });
      });
      const run = runView().assert({
        id: "run_1",
        status: "completed",
        created_at: at(0),
        completed_at: at(now),
        cost_micros: views.reduce((sum, view) => sum + (view.cost_micros ?? 0), 0),
        input_tokens: views.reduce((sum, view) => sum + (view.input_tokens ?? 0), 0),
      });
      const tree = traceTree(run, views, []);
      check(tree);
      for (const child of tree.children) check(child);
    }),
  );
});

/** What no child accounts for is said, so that both sums are the parent's; overlapping effects count once. */
function check({ ms, from, to, costMicros, tokens, children }: TraceNode): void {
  if (children.length === 0) return;
  const rest = children.find(({ name }) => name === "between");
  const busy = new Set<number>();
  for (const child of children) {
    if (child.from === null || child.to === null) continue;
    for (let time = Math.max(from ?? 0, child.from); time < Math.min(to ?? 0, child.to); time += 1)
      busy.add(time);
  }
  expect(busy.size + (rest?.ms ?? 0)).toBe(ms);
  const sum = (read: (node: TraceNode) => number | null) =>
    children.reduce((all, child) => all + (read(child) ?? 0), 0);
  expect(sum((child) => child.costMicros)).toBe(costMicros ?? 0);
  expect(sum((child) => child.tokens)).toBe(tokens ?? 0);
}

test("a question is a piece of its step, and a step without a trace has no pieces", () => {
  const run = runView().assert({ id: "run_1", status: "running", created_at: at(0) });
  const step = { run_id: "run_1", step_type: "tool", status: "running", started_at: at(5) };
  const views = [
    stepView().assert({ ...step, id: "stp_1", tool_name: "write", trace: { odd: true } }),
    stepView().assert({ ...step, id: "stp_2", tool_name: "read" }),
  ];
  const asked = { id: "apr_1", run_id: "run_1", step_id: "stp_2", status: "approved" } as const;
  const tree = traceTree(run, views, [
    {
      ...asked,
      created_at: at(10),
      resolved_at: at(30),
      resolved_by: "key_1",
      resolved_by_name: "ann",
    } as never,
  ]);
  expect(tree.children).toMatchObject([
    { name: "tool write", children: [] },
    {
      name: "tool read",
      children: [{ name: "asked, answered by ann (key_1)", ms: 20, status: "approved" }],
    },
  ]);
});

test("a step that was cut short is told from one that never began, whose effects nobody lacks [runs.cut-short]", () => {
  const run = runView().assert({ id: "run_1", status: "cancelled", created_at: at(0) });
  const step = { run_id: "run_1", step_type: "tool", status: "skipped" };
  const error = { kind: "cancelled", message: "the run was cancelled while this step was at work" };
  const [cut, never] = [
    stepView().assert({ ...step, id: "stp_1", error }),
    stepView().assert({ ...step, id: "stp_2", error: null }),
  ];
  const tree = traceTree(run, [cut, never], []);
  expect(tree.children.map(({ status }) => status)).toEqual(["cancelled", "skipped"]);
  expect(tree.children.map(({ why }) => why)).toEqual([`cancelled: ${error.message}`, null]);
  expect(untoldOf([never])).toBeNull();
  expect(untoldOf([cut, never])).toMatch(/^no effects are listed of stp_1: /u);
  const traced = { ...cut, trace: { states: ["pending"], effects: [] } };
  expect(untoldOf([traced, never])).toBeNull();
});

test.each([40, 60, 120])(
  "the tree stays one in a terminal of %i columns, with all that is said of each piece [traces.tree]",
  (columns) => {
    const piece = record({
      name: string({ unit: "grapheme", minLength: 1, maxLength: 70 }),
      said: array(stringMatching(/^[a-z0-9$.]{1,12}$/), { maxLength: 4 }),
    });
    const tree = letrec<{ tree: Branch }>((tie) => ({
      tree: record({
        piece,
        children: oneof({ depthSize: "small" }, constant([]), array(tie("tree"), { maxLength: 4 })),
      }).map(({ piece: { name, said }, children }) => ({
        name,
        said,
        cells: [0, 1, 2, 3].map((column) => said[column] ?? ""),
        children: children as Branch[],
      })),
    })).tree;
    assert(
      property(tree, (drawn) => {
        const lines: string[] = [];
        const out = { isTTY: false, write: (text: string) => void lines.push(text) };
        const output = createOutput({ out, remarks: out, isJson: false, env: {}, columns });
        printTree(["WHAT", "A", "B", "C", "D"], drawn, output);
        const text = lines.join("");
        // Only a tree that is very deep is wider than what it is drawn for.
        const deepest = depthOf(drawn);
        for (const line of text.split("\n")) {
          expect(stringWidth(line)).toBeLessThanOrEqual(Math.max(columns, 3 * deepest + 15));
        }
        const marks = text.match(/[├└]─ /gu)?.length ?? 0;
        expect(marks).toBe(countOf(drawn) - 1);
        for (const word of allSaid(drawn)) expect(text).toContain(word);
      }),
    );
  },
);

const depthOf = ({ children }: Branch): number => 1 + Math.max(0, ...children.map(depthOf));
const countOf = ({ children }: Branch): number =>
  children.reduce((count, child) => count + countOf(child), 1);
const allSaid = ({ said, children }: Branch): string[] => [...said, ...children.flatMap(allSaid)];
