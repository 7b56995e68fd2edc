import type { ObservedStep } from "../contracts.ts";
import { escaped } from "./page-text.ts";

/** The states that were passed, on their machine's chart: an SVG whose markers are looked up by ids with this prefix. */
export type DrawWalk = (states: readonly string[], prefix: string) => string | null;

/**
 * Charts of walks: of thousands of steps nearly all pass one of few series of states, and each series is drawn once, at
 * the end of the page; a step's own place refers to it.
 */
export class Walks {
  readonly #draw: DrawWalk | undefined;
  readonly #drawn = new Map<string, { id: string; svg: string; size: string } | null>();

  constructor(draw: DrawWalk | undefined) {
    this.#draw = draw;
  }

  /** A step's chart; empty where none can be drawn. */
  chart(states: readonly string[]): string {
    const walk = this.#of(states);
    if (walk === null) return "";
    const label = `The chart of the step's machine; it passed ${states.join(", ")}`;
    return `<div class="drawing" tabindex="0" role="group" aria-label="${escaped(label)}"><svg role="img" aria-label="${escaped(label)}" ${walk.size}><use href="#${walk.id}"/></svg></div>`;
  }

  #of(states: readonly string[]) {
    const key = states.join(" ");
    const known = this.#drawn.get(key);
    if (known !== undefined) return known;
    const id = `walk-${this.#drawn.size}`;
    const svg = states.length === 0 ? null : (this.#draw?.(states, id) ?? null);
    const size = /width="[\d.]+" height="[\d.]+" viewBox="[-\d. ]+"/.exec(svg ?? "")?.[0];
    const walk = svg === null || size === undefined ? null : { id, svg, size };
    this.#drawn.set(key, walk);
    return walk;
  }

  /** What the charts refer to. */
  definitions(): string {
    const symbols = [...this.#drawn.values()].flatMap((walk) => {
      if (walk === null) return [];
      const inner = walk.svg.replace(/^<svg[^>]*>/, "").replace(/<\/svg>\s*$/, "");
      const box = /viewBox="[-\d. ]+"/.exec(walk.size)?.[0] ?? "";
      return [`<symbol id="${walk.id}" ${box}>${inner}</symbol>`];
    });
    if (symbols.length === 0) return "";
    return `<svg class="symbols" aria-hidden="true">${symbols.join("\n")}</svg>`;
  }
}

/** The states that a step passed, in order, with how long it was in each, and the same as a bar. */
export function statesPart(step: ObservedStep): string {
  const { states } = step;
  if (states.length === 0) return `<p class="quiet">Nobody saw which states it passed.</p>`;
  const times = states.map(({ at }) => Date.parse(at));
  const first = times[0] ?? Number.NaN;
  const whole = (times.at(-1) ?? Number.NaN) - first;
  const spans = states.map(({ state }, nth) => {
    const [from, to] = [times[nth] ?? Number.NaN, times[nth + 1] ?? Number.NaN];
    return { state, from: from - first, took: to - from };
  });
  const list = spans.map(({ state, took }) => {
    const time = Number.isFinite(took)
      ? ` <small>${took < 1000 ? `${took} ms` : `${(took / 1000).toFixed(1)} s`}</small>`
      : "";
    return `<li><span class="state ${toneOf(state)}">${escaped(state)}</span>${time}</li>`;
  });
  const bar = whole > 0 && spans.every(({ from }) => Number.isFinite(from));
  const parts = spans
    .filter(({ took }) => took > 0)
    .map(({ state, from, took }) => {
      const [x, width] = [from, took].map((value) => ((value / whole) * 1000).toFixed(1));
      return `<rect class="${toneOf(state)}" x="${x}" y="0" width="${width}" height="10"><title>${escaped(state)}: ${took} ms</title></rect>`;
    });
  const drawn = bar
    ? `<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">${parts.join("")}</svg>`
    : "";
  return `<ol class="walk" aria-label="The states it passed">${list.join("")}</ol>${drawn}`;
}

const tones: Readonly<Record<string, string>> = {
  pending: "tone-pending",
  "policy-check": "tone-policy",
  "awaiting-approval": "tone-waiting",
  executing: "tone-executing",
  validating: "tone-validating",
  reported: "tone-reported",
};
/** By its outermost state. */
const toneOf = (state: string): string => tones[state.split(".")[0] ?? ""] ?? "tone-pending";
