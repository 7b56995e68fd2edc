import { isJsonObject, type Json } from "./json.ts";
import { suggest } from "./shape-problems.ts";

/** What each step of a list waits for, or what each workflow runs; by id. */
export type Graph = Map<string, readonly string[]>;

/** Of one definition. */
export const maxSteps = 10_000;

/** Where in a definition something stands. */
export type Place = readonly (string | number)[];

/** A place as people write it: `steps[2].config["a b"]`. */
export function writtenPlace(place: Place): string {
  return place.reduce<string>((path, part) => {
    if (typeof part === "number") return `${path}[${part}]`;
    if (!/^[\w-]+$/u.test(part)) return `${path}[${JSON.stringify(part)}]`;
    return path === "" ? part : `${path}.${part}`;
  }, "");
}

/** A text of an object; null where there is none. */
export function textOf(given: Json | undefined, key: string): string | null {
  const value = isJsonObject(given) ? given[key] : undefined;
  return typeof value === "string" ? value : null;
}

/** What each step of a list waits for, whether it needs its result or only its end. */
export function graphOf(given: readonly Json[], isOrdered: boolean): Graph {
  const graph: Graph = new Map();
  let last: string | null = null;
  for (const step of given) {
    const id = textOf(step, "id");
    if (id === null) continue;
    const needed = isJsonObject(step) ? step["depends_on"] : undefined;
    const named = Array.isArray(needed) ? needed.filter((one) => typeof one === "string") : null;
    graph.set(id, named ?? (isOrdered && last !== null ? [last] : []));
    last = id;
  }
  return graph;
}

/** All that a step waits for, and what that waits for. */
export function before(id: string, graph: Graph): Set<string> {
  const found = new Set<string>();
  const waiting = [...(graph.get(id) ?? [])];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (found.has(next)) continue;
    found.add(next);
    waiting.push(...(graph.get(next) ?? []));
  }
  return found;
}

/** Names that lead from one to itself, the first repeated at the end; null where none do. */
export function findCircle(graph: Graph): string[] | null {
  const open = new Map(
    [...graph].map(([id, needs]) => [id, new Set(needs.filter((one) => graph.has(one)))]),
  );
  const needers = new Map<string, string[]>();
  for (const [id, needs] of open) {
    for (const one of needs) {
      const known = needers.get(one);
      if (known === undefined) needers.set(one, [id]);
      else known.push(id);
    }
  }
  const free = [...open].filter(([, needs]) => needs.size === 0).map(([id]) => id);
  for (let next = free.pop(); next !== undefined; next = free.pop()) {
    open.delete(next);
    for (const id of needers.get(next) ?? []) {
      const needs = open.get(id);
      if (needs?.delete(next) && needs.size === 0) free.push(id);
    }
  }
  // What is left waits for something that is left.
  let [at] = open.keys();
  if (at === undefined) return null;
  const way: string[] = [];
  while (!way.includes(at)) {
    way.push(at);
    [at = ""] = open.get(at) ?? [];
  }
  return [...way.slice(way.indexOf(at)), at];
}

/** Where steps of type `workflow` say which workflow they run. */
function usedPlaces(given: Json, place: Place): { place: Place; id: string }[] {
  if (!isJsonObject(given)) return [];
  const own = isJsonObject(given["config"]) ? textOf(given["config"], "workflow") : null;
  const isUse = given["type"] === "workflow" && own !== null;
  const lists = ["steps", "then", "else"].flatMap((key) =>
    [[], ["config"]].flatMap((way) => {
      const holder = way.length === 0 ? given : given["config"];
      const list = isJsonObject(holder) ? holder[key] : undefined;
      if (!Array.isArray(list)) return [];
      return list.flatMap((step, at) => usedPlaces(step, [...place, ...way, key, at]));
    }),
  );
  return isUse ? [{ place: [...place, "config", "workflow"], id: own }, ...lists] : lists;
}

const usedWorkflows = (given: Json): string[] => usedPlaces(given, []).map(({ id }) => id);

/** The steps of a workflow or of one step, those in steps counted too; its `workflows` are not. */
export function countSteps(given: Json): number {
  if (!isJsonObject(given)) return 0;
  const holders = [given, given["config"]].filter((one) => isJsonObject(one));
  const lists = holders.flatMap((holder) => [holder["steps"], holder["then"], holder["else"]]);
  return lists
    .flatMap((list) => (Array.isArray(list) ? list : []))
    .reduce<number>((sum, step) => sum + 1 + countSteps(step), 0);
}

/** Workflows of one name, names of none, and workflows that run themselves. */
export function subWorkflowProblems(
  document: Json,
  subs: readonly Json[],
): { place: Place; problem: string }[] {
  const problems: { place: Place; problem: string }[] = [];
  const uses: Graph = new Map();
  for (const [at, sub] of subs.entries()) {
    const id = textOf(sub, "id");
    if (id === null) continue;
    if (uses.has(id)) {
      const problem = `expected an id of its own; there is a workflow "${id}" already`;
      problems.push({ place: ["workflows", at, "id"], problem });
    }
    uses.set(id, usedWorkflows(sub));
  }
  const used = [document, ...subs].flatMap((one, at) =>
    usedPlaces(one, at === 0 ? [] : ["workflows", at - 1]),
  );
  for (const { place, id } of used) {
    if (uses.has(id)) continue;
    const problem = `there is no workflow "${id}" in \`workflows\`${suggest(id, [...uses.keys()])}`;
    problems.push({ place, problem });
  }
  const circle = findCircle(uses);
  if (circle === null) {
    const own = new Map(subs.map((sub) => [textOf(sub, "id") ?? "", countSteps(sub)]));
    const sizes = new Map<string, number>();
    // Those that are run first: a circle there is none.
    const sizeOf = (id: string): number => {
      const known = sizes.get(id);
      if (known !== undefined) return known;
      const inner = (uses.get(id) ?? []).reduce((sum, one) => sum + sizeOf(one), 0);
      const size = (own.get(id) ?? 0) + inner;
      sizes.set(id, size);
      return size;
    };
    const all = used.filter(({ place }) => place[0] !== "workflows");
    const total = all.reduce((sum, { id }) => sum + sizeOf(id), countSteps(document));
    if (total <= maxSteps) return problems;
    const problem = `with all that they run in each other they have ${total} steps; expected at most ${maxSteps}`;
    return [...problems, { place: ["workflows"], problem }];
  }
  const at = subs.findIndex((sub) => textOf(sub, "id") === circle[0]);
  const problem = `this workflow runs itself: ${circle.join(" → ")}`;
  return [...problems, { place: ["workflows", at, "id"], problem }];
}
