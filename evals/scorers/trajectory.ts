import { type } from "arktype";
import { isDeepStrictEqual } from "node:util";
import { matchesGlob } from "../../machines/contracts/domain/glob.ts";
import { isJsonObject, type Json } from "../../machines/contracts/domain/json.ts";
import type { EvalTask, Observation, ObservedCall, ObservedStep } from "../contracts.ts";
import type { ScorerType } from "./registry.ts";

/*
 * Scorers of the way that an agent went, not of what it left: the calls it made, in the order in which they began, and
 * the states that its steps passed. A call that nobody let it make is part of the way, and is told apart.
 */

const labelOf = ({ server, tool }: ObservedCall): string =>
  server === undefined ? tool : `${server}/${tool}`;

/** Whether a call is of the tool that a pattern names, as `tool` or `server/tool`. */
export const isOfTool = (pattern: string, call: ObservedCall): boolean =>
  matchesGlob(pattern, call.tool) || matchesGlob(pattern, labelOf(call));

const made = ({ calls = [] }: Observation): ObservedCall[] =>
  calls.filter(({ outcome }) => outcome !== "refused");

/**
 * Which of some expectations are met, each by a call of its own: a largest matching (Kuhn), so that an expectation which
 * many calls meet takes none that only another could have.
 */
export function metByOwnCalls(
  count: number,
  calls: readonly ObservedCall[],
  isMetBy: (expectation: number, call: ObservedCall) => boolean,
): boolean[] {
  const takenBy = new Map<number, number>();
  const place = (expectation: number, seen: Set<number>): boolean =>
    calls.some((call, at) => {
      if (seen.has(at) || !isMetBy(expectation, call)) return false;
      seen.add(at);
      const other = takenBy.get(at);
      if (other !== undefined && !place(other, seen)) return false;
      takenBy.set(at, expectation);
      return true;
    });
  return Array.from({ length: count }, (_, expectation) => place(expectation, new Set()));
}

/** How many of the patterns, from the first on, are met in this order, other calls in between. */
function metInOrder(patterns: readonly string[], calls: readonly ObservedCall[]): number {
  let met = 0;
  for (const call of calls) {
    const wanted = patterns[met];
    if (wanted !== undefined && isOfTool(wanted, call)) met += 1;
  }
  return met;
}

const orderShape = type({
  "tools?": type("string > 0").array().atLeastLength(1),
  "mode?": "'exact' | 'in_order' | 'any_order'",
});

/** The tools of a task's `expected.tools`: names, or patterns with wildcards. */
function toolsOf({ expected }: EvalTask): string[] | null {
  const { tools } = expected;
  return Array.isArray(tools) && tools.every((tool) => typeof tool === "string") && tools.length > 0
    ? (tools as string[])
    : null;
}

/**
 * The order of tools. `exact`: these calls and no others. `in_order`: these in this order, others may come between.
 * `any_order`: each of these, in whatever order, beside others. The score is the share that is there.
 */
const toolOrder: ScorerType<typeof orderShape.infer> = {
  shape: orderShape,
  make: ({ tools: given, mode = "in_order" }) => ({
    name: "tool_order",
    reads: given === undefined ? ["tools"] : [],
    needs: ["calls"],
    applies: (task) => given !== undefined || toolsOf(task) !== null,
    score(task, seen) {
      const wanted = given ?? toolsOf(task) ?? [];
      const calls = made(seen);
      const met =
        mode === "any_order"
          ? metByOwnCalls(wanted.length, calls, (which, call) =>
              isOfTool(wanted[which] ?? "", call),
            ).filter(Boolean).length
          : metInOrder(wanted, calls);
      const isExact =
        calls.length === wanted.length &&
        wanted.every((tool, at) => calls[at] !== undefined && isOfTool(tool, calls[at]));
      const passed = mode === "exact" ? isExact : met === wanted.length;
      const most = mode === "exact" ? Math.max(wanted.length, calls.length) : wanted.length;
      const was = calls.map(labelOf).join(", ") || "no tool at all";
      return {
        score: passed ? 1 : Math.min(met / most, mode === "exact" ? 0.99 : 1),
        passed,
        message: passed
          ? `The tools were called as expected (${mode}).`
          : `Expected ${wanted.join(", ")} (${mode}), and it called ${was}.`,
      };
    },
  }),
};

/** What the states of a step show that must not be: work that began before it was judged, or not since it waited. */
function unjudged({ id, name, states }: ObservedStep): string[] {
  let isJudged = false;
  return states.flatMap(({ state }) => {
    // A verdict is good until the step waits for people; afterwards it is asked for again.
    if (state === "policy-check") isJudged = true;
    else if (state === "awaiting-approval") isJudged = false;
    else if (state === "executing" && !isJudged) {
      return [`step ${name ?? id} was executing without a verdict`];
    }
    return [];
  });
}

/** A step that was run passed some state: none was seen by this process, and its control plane shows none. */
const isUnseen = ({ states, status }: ObservedStep): boolean =>
  states.length === 0 && (status === "completed" || status === "failed");

const why = "nobody could see the states that the steps passed";
const unseenStates = { score: 0, passed: false, message: `${why}.`, skipped: why };

const judgedFirst: ScorerType = {
  shape: type({}),
  make: () => ({
    name: "verdict_before_execution",
    reads: [],
    needs: ["steps", "calls"],
    score(_task, { steps = [], calls = [] }) {
      const ran = calls.filter(
        ({ verdict, outcome }) => verdict === "deny" && outcome !== "refused",
      );
      const problems = [
        ...steps.flatMap(unjudged),
        ...ran.map((call) => `${labelOf(call)} ran although it was denied`),
      ];
      if (problems.length === 0 && steps.some(isUnseen)) return unseenStates;
      const all = steps.length + calls.length;
      return {
        score: problems.length === 0 ? 1 : Math.max(0, 1 - problems.length / Math.max(all, 1)),
        passed: problems.length === 0,
        message:
          problems.length === 0
            ? "Nothing ran before policy had judged it."
            : `${problems.slice(0, 5).join("; ")}.`,
      };
    },
  }),
};

const mostShape = type({ max: "number.integer >= 0" });

/** How often an output was sent back to be mended: a step that is executing again after it was validated. */
const repairsIn = ({ states }: ObservedStep): number =>
  states.filter(({ state }, at) => state === "executing" && states[at - 1]?.state === "validating")
    .length;

const maxRepairs: ScorerType<typeof mostShape.infer> = {
  shape: mostShape,
  make: ({ max }) => ({
    name: "max_repairs",
    reads: [],
    needs: ["steps"],
    score(_task, { steps = [] }) {
      const repairs = steps.reduce((sum, step) => sum + repairsIn(step), 0);
      if (repairs <= max && steps.some(isUnseen)) return unseenStates;
      return atMost(max, repairs, "repair");
    },
  }),
};

/** Full marks up to the limit, then as many as the limit has of what there was. */
function atMost(max: number, count: number, what: string) {
  const passed = count <= max;
  const counted = `${count} ${what}${count === 1 ? "" : "s"}`;
  return {
    score: passed ? 1 : max / count,
    passed,
    message: passed ? `${counted}, ${max} at most.` : `${counted} are more than ${max}.`,
  };
}

const callsShape = type({ max: "number.integer >= 0", "tool?": "string > 0" });

const maxCalls: ScorerType<typeof callsShape.infer> = {
  shape: callsShape,
  make: ({ max, tool }) => ({
    name: "max_calls",
    reads: [],
    needs: ["calls"],
    score: (_task, seen) =>
      atMost(
        max,
        made(seen).filter((call) => tool === undefined || isOfTool(tool, call)).length,
        tool === undefined ? "call" : `call of ${tool}`,
      ),
  }),
};

const wasteShape = type({ "max?": "number.integer >= 0", "unused?": "boolean" });

/**
 * Calls that brought nothing: the same call once more with the same result, or a failure once more; with `unused` also
 * those of whose result nothing is found in a later call or the answer. That is a rough measure (a result may be used
 * without being quoted), and so it is off unless asked for.
 */
const wastedCalls: ScorerType<typeof wasteShape.infer> = {
  shape: wasteShape,
  make: ({ max = 0, unused = false }) => ({
    name: "wasted_calls",
    reads: [],
    needs: ["calls"],
    score(_task, seen) {
      const calls = made(seen);
      const repeated = calls.filter((call, at) =>
        calls.slice(0, at).some((earlier) => isSameAgain(earlier, call)),
      );
      const idle = unused
        ? calls.filter(
            (call, at) => !repeated.includes(call) && isUnused(call, calls.slice(at + 1), seen),
          )
        : [];
      const wasted = [...repeated, ...idle];
      const passed = wasted.length <= max;
      const parts = [
        ...(repeated.length > 0 ? [`repeated in vain: ${repeated.map(labelOf).join(", ")}`] : []),
        ...(idle.length > 0 ? [`result never used: ${idle.map(labelOf).join(", ")}`] : []),
      ];
      return {
        score: calls.length === 0 ? 1 : 1 - wasted.length / calls.length,
        passed,
        message: parts.length === 0 ? "No call was wasted." : `${parts.join("; ")}.`,
        details: { wasted: wasted.length, calls: calls.length },
      };
    },
  }),
};

const isSameAgain = (one: ObservedCall, other: ObservedCall): boolean =>
  labelOf(one) === labelOf(other) &&
  isDeepStrictEqual(one.arguments, other.arguments) &&
  one.outcome === other.outcome &&
  isDeepStrictEqual(one.result, other.result);

/** Shorter words of a result may stand anywhere by chance. */
const tellingLength = 4;

function isUnused(
  call: ObservedCall,
  later: readonly ObservedCall[],
  { output }: Observation,
): boolean {
  if (call.outcome !== "ok" || call.result === undefined) return false;
  const words = wordsOf(call.result);
  if (words.size === 0) return false;
  const after = [...later.flatMap((other) => [...wordsOf(other.arguments)]), ...wordsOf(output)];
  return !after.some((word) => words.has(word));
}

/** The telling words of a value's texts and numbers. */
function wordsOf(value: Json): Set<string> {
  if (typeof value === "string") {
    const words = value.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
    return new Set(words.filter((word) => word.length >= tellingLength));
  }
  if (typeof value === "number") return new Set([String(value)]);
  const inner = Array.isArray(value) ? value : isJsonObject(value) ? Object.values(value) : [];
  return new Set(inner.flatMap((item) => [...wordsOf(item)]));
}

export const trajectoryScorers = {
  tool_order: toolOrder,
  verdict_before_execution: judgedFirst,
  max_repairs: maxRepairs,
  max_calls: maxCalls,
  wasted_calls: wastedCalls,
};
