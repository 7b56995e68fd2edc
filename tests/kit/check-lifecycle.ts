import * as fc from "fast-check";
import { calmHistory, type Fault, histories, type History } from "./lifecycle-history.ts";
import { brokenLifecyclePromises } from "./lifecycle-promises.ts";
import type { LifecycleSubject, LifecycleTool } from "./lifecycle-subject.ts";
import { tellStory } from "./tell-story.ts";
import { walkLifecycle } from "./walk-lifecycle.ts";

interface Trials {
  /** How many histories are tried; 200 unless given. */
  numRuns?: number;
  /** As printed by a failure, together with `path`: goes straight to the smallest failing history. */
  seed?: number;
  path?: string;
}

/** A handler, and how it is tried. */
export interface LifecycleCheck extends LifecycleSubject, Trials {}

/** A tool made with `defineTool`, and how it is tried. */
export interface ToolLifecycleCheck extends LifecycleTool, Trials {}

/** What was tried. */
export interface LifecycleReport {
  histories: number;
  seed: number;
  /** How many faults of each kind struck. */
  struck: Partial<Record<Fault, number>>;
}

/** A handler broke a promise: the message has the seed, the path, the shrunk history and what happened in it. */
export class LifecycleBroken extends Error {
  override readonly name = "LifecycleBroken";
  readonly seed: number;
  readonly path: string;
  readonly history: History;
  readonly promises: readonly string[];

  constructor(found: {
    seed: number;
    path: string;
    history: History;
    promises: string[];
    story: string;
  }) {
    const { seed, path, history, promises, story } = found;
    super(
      [
        ...promises,
        `seed: ${seed}, path: "${path}"`,
        `history: ${JSON.stringify(history)}`,
        `what happened:\n${story}`,
      ].join("\n"),
    );
    this.seed = seed;
    this.path = path;
    this.history = history;
    this.promises = promises;
  }
}

/**
 * Property-tests a step handler or a tool, and a policy: walks real steps through histories chosen by fast-check (verdicts,
 * grants, rejections, expiries, failing effects, deaths between any two calls with take-over, pauses past the
 * lease, cancels, drains, duplicates) and looks at every promise in each.
 *
 * @example
 * await checkLifecycle({ tool: sendPostcard, input: { to: "Ada", text: "Greetings." }, policy });
 * @throws LifecycleBroken with the smallest history found that breaks one
 */
export async function checkLifecycle(
  check: LifecycleCheck | ToolLifecycleCheck,
): Promise<LifecycleReport> {
  const calm = await walkLifecycle(check, calmHistory);
  const struck: Partial<Record<Fault, number>> = {};
  const tryOne = async (history: History) => {
    const walk = await walkLifecycle(check, history);
    for (const [kind, count] of walk.struck) struck[kind] = (struck[kind] ?? 0) + count;
    return { walk, promises: brokenLifecyclePromises(walk, calm) };
  };
  const property = fc.asyncProperty(histories, async (history) => {
    const { promises } = await tryOne(history);
    return promises.length === 0;
  });
  const { numRuns = 200, seed, path } = check;
  const found = await fc.check(property, {
    numRuns,
    examples: [[calmHistory]],
    ...(seed === undefined ? {} : { seed }),
    ...(path === undefined ? {} : { path }),
  });
  const [history] = found.counterexample ?? [];
  if (!found.failed || history === undefined) {
    return { histories: found.numRuns, seed: found.seed, struck };
  }
  const { walk, promises } = await tryOne(history);
  throw new LifecycleBroken({
    seed: found.seed,
    path: found.counterexamplePath ?? "",
    history,
    promises,
    story: tellStory(walk),
  });
}
