import { isJsonObject, type Json, type JsonObject } from "./json.ts";
import { budgetShape } from "./budget.ts";
import {
  configShapes,
  stepShape,
  type WorkflowStepType,
  workflowShape,
  workflowStepTypes,
} from "./workflow.ts";
import { type Shape, shapeProblems, suggest } from "./shape-problems.ts";
import {
  before,
  findCircle,
  type Graph,
  graphOf,
  maxSteps,
  type Place,
  textOf,
  subWorkflowProblems,
} from "./workflow-graph.ts";
import { collectExpressions, type Expression } from "./workflow-expressions.ts";

/** What keeps a definition from being used. */
export interface Problem {
  place: Place;
  /** Whether the name of the last part of the place is meant, or what stands there. */
  on: "key" | "value";
  /** So many characters into the text that stands there; null for all of it. */
  offset: number | null;
  /** A sentence without its subject: `expected …`. */
  problem: string;
}

/** What an expression says of itself: the names that it begins its paths with, and where; or why it is none. */
export type Reading =
  | { ok: true; names: readonly { name: string; offset: number }[] }
  | { ok: false; offset: number; problem: string };

export type ExpressionReader = (kind: Expression["kind"], text: string) => Reading;

const maxDepth = 8;
/** Whoever has so many to mend looks again afterwards. */
const maxProblems = 100;

/** What paths may begin with beside the ids of steps. */
const always = ["input", "variables"] as const;
const reserved: ReadonlySet<string> = new Set([...always, "item", "index", "iteration"]);

/** What the steps of one list see of what stands around them. */
interface Surroundings {
  /** What their paths may begin with. */
  names: ReadonlySet<string>;
  /** The ids around them, which theirs must not repeat. */
  ids: ReadonlySet<string>;
  depth: number;
  /** Whether a step that says no `depends_on` waits for the one before it. */
  isOrdered: boolean;
}

/**
 * Everything that is wrong with a definition, in the order of its text. What it lets through has steps with ids of
 * their own, dependencies that exist and lead nowhere back, and expressions whose values will be there.
 */
export function workflowProblems(document: Json, read: ExpressionReader): Problem[] {
  const problems: Problem[] = [];
  let steps = 0;

  const say = (
    place: Place,
    problem: string,
    offset: number | null = null,
    on: Problem["on"] = "value",
  ): void => {
    if (problems.length < maxProblems) problems.push({ place, on, offset, problem });
  };

  checkWorkflow(document, [], 0);
  return problems;

  function checkWorkflow(given: Json, place: Place, level: number): void {
    if (!checkShape(given, place, workflowShape)) return;
    const subs = level === 0 && Array.isArray(given["workflows"]) ? given["workflows"] : [];
    if (level > 0 && given["workflows"] !== undefined) {
      const why = "expected all workflows in the outermost list of `workflows`";
      say([...place, "workflows"], why, null, "key");
    }
    if (level === 0) {
      for (const found of subWorkflowProblems(given, subs)) say(found.place, found.problem);
    }
    const names = new Set<string>(always);
    const around = { names, ids: new Set<string>(), depth: 1, isOrdered: false };
    checkSteps(given["steps"], [...place, "steps"], around);
    for (const [at, sub] of subs.entries()) checkWorkflow(sub, [...place, "workflows", at], 1);
  }

  function checkSteps(given: Json | undefined, place: Place, around: Surroundings): void {
    if (!Array.isArray(given)) return;
    if (around.depth > maxDepth) return say(place, `is nested deeper than ${maxDepth} levels`);
    steps += given.length;
    if (steps > maxSteps) return say(place, `a workflow has at most ${maxSteps} steps`);
    const ids = checkIds(given, place, around);
    const graph = graphOf(given, around.isOrdered);
    const sound = checkDependencies(given, place, ids, graph);
    for (const [at, step] of given.entries()) {
      if (!checkShape(step, [...place, at], stepShape)) continue;
      checkStep(step, [...place, at], { around, ids, graph, isSound: sound });
    }
  }

  function checkIds(given: readonly Json[], place: Place, around: Surroundings): Set<string> {
    const ids = new Set<string>();
    for (const [at, step] of given.entries()) {
      const id = textOf(step, "id");
      if (id === null) continue;
      const where = [...place, at, "id"];
      if (reserved.has(id)) say(where, `"${id}" is a name of the format; expected another id`);
      else if (ids.has(id))
        say(where, `expected an id of its own; there is a step "${id}" already`);
      else if (around.ids.has(id))
        say(where, `expected an id of its own; a step around this one is called "${id}"`);
      ids.add(id);
    }
    return ids;
  }

  function checkDependencies(
    given: readonly Json[],
    place: Place,
    ids: ReadonlySet<string>,
    graph: Graph,
  ): boolean {
    const known = problems.length;
    for (const [at, step] of given.entries()) {
      const needed = isJsonObject(step) ? step["depends_on"] : [];
      for (const [nth, id] of (Array.isArray(needed) ? needed : []).entries()) {
        if (typeof id !== "string" || ids.has(id)) continue;
        const hint = suggest(id, [...ids]) || "; expected the id of a step of the same list";
        say([...place, at, "depends_on", nth], `there is no step "${id}" here${hint}`);
      }
    }
    const circle = findCircle(graph);
    if (circle !== null) {
      const [first = "", second = ""] = circle;
      const at = given.findIndex((step) => textOf(step, "id") === first);
      const step = given[at];
      const needed = isJsonObject(step) ? step["depends_on"] : undefined;
      const nth = Array.isArray(needed) ? needed.indexOf(second) : -1;
      const where = nth < 0 ? [...place, at, "id"] : [...place, at, "depends_on", nth];
      say(where, `this step would wait for itself: ${circle.join(" → ")}`);
    }
    return problems.length === known;
  }

  function checkStep(
    step: JsonObject,
    place: Place,
    list: { around: Surroundings; ids: Set<string>; graph: Graph; isSound: boolean },
  ): void {
    const { around, ids, graph, isSound } = list;
    const stepType = step["type"] as string;
    if (!isWorkflowStepType(stepType)) {
      const known = workflowStepTypes.join(", ");
      const hint = suggest(stepType, workflowStepTypes) || `; expected one of ${known}`;
      return say([...place, "type"], `there is no step type "${stepType}"${hint}`);
    }
    const id = step["id"] as string;
    const config = (step["config"] ?? {}) as JsonObject;
    const where = step["config"] === undefined ? place : [...place, "config"];
    const isWhole = checkShape(config, where, configShapes[stepType]);
    if (isWhole) checkNeeds(stepType, config, where);
    const earlier = isSound ? before(id, graph) : ids;
    const names = new Set([...around.names, ...earlier]);
    for (const { kind, text, place: inner, problem } of collectExpressions(step)) {
      const there = [...place, ...inner];
      if (problem === undefined) checkExpression(kind, text, there, { names, ids, id });
      else say(there, problem);
    }
    if (!isWhole) return;
    const all = new Set([...around.ids, ...ids]);
    const depth = around.depth + 1;
    const isEach = stepType === "parallel" && config["for_each"] !== undefined;
    const own = stepType === "loop" ? ["iteration", id] : isEach ? ["item", "index"] : [];
    for (const branch of ["steps", "then", "else"]) {
      if (!Array.isArray(config[branch])) continue;
      checkSteps(config[branch], [...where, branch], {
        names: new Set([...names, ...own]),
        ids: all,
        depth,
        isOrdered: stepType !== "parallel" || isEach,
      });
    }
  }

  /** What a shape can't say. */
  function checkNeeds(stepType: WorkflowStepType, config: JsonObject, place: Place): void {
    const unlimited = shapeProblems(config["budget"] ?? {}, budgetShape);
    for (const { path, problem, on } of unlimited) {
      say([...place, "budget", ...path], problem, null, on);
    }
    const from = isJsonObject(config["input_from"]) ? config["input_from"] : {};
    const key = stepType === "retrieval" ? "query" : stepType === "sandbox" ? "code" : null;
    if (key !== null && config[key] === undefined && from[key] === undefined) {
      say(place, `expected \`${key}\`, here or in \`input_from\``, null, "key");
    }
    if (config["max_concurrency"] !== undefined && config["for_each"] === undefined) {
      say([...place, "max_concurrency"], "expected `for_each` beside it", null, "key");
    }
    if (stepType === "approval" && config["tool_name"] === undefined) {
      const lost = ["tool_input", "tool_input_from"].find((name) => config[name] !== undefined);
      if (lost !== undefined) say([...place, lost], "expected `tool_name` beside it", null, "key");
    }
  }

  function checkExpression(
    kind: Expression["kind"],
    text: string,
    place: Place,
    { names, ids, id }: { names: ReadonlySet<string>; ids: ReadonlySet<string>; id: string },
  ): void {
    const reading = read(kind, text);
    if (!reading.ok) return say(place, reading.problem, reading.offset);
    for (const { name, offset } of reading.names) {
      if (names.has(name)) continue;
      const why =
        name === id
          ? "a step does not see its own result"
          : ids.has(name)
            ? `"${name}" may not have ended by then; expected it in \`depends_on\``
            : `there is no step "${name}" to be seen from here${suggest(name, [...names])}`;
      say(place, why, offset);
    }
  }

  /** Whether it is an object that holds what it must; what it must not hold is told, and is no hindrance. */
  function checkShape(given: Json, place: Place, shape: Shape): given is JsonObject {
    const found = shapeProblems(given, shape);
    for (const { path, problem, on } of found) say([...place, ...path], problem, null, on);
    return found.every(({ isHindrance }) => !isHindrance);
  }
}

const isWorkflowStepType = (text: string): text is WorkflowStepType =>
  Object.hasOwn(configShapes, text);
