import { type JsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import { type Box, curve, layOut, type Placed, type PlacedArrow, round } from "./page/layout.ts";
import { answeredEverywhere, machineBoxes } from "./page/machine-boxes.ts";

/*
 * A machine's chart as a picture of its own, drawn as the console and the inspector draw it. Its colours are its reader's
 * choice, light or dark, wherever a browser shows it, in an <img> too; where the variables are set in a page around it,
 * they are the page's.
 */

const style = `
svg { --panel: #ffffff; --ground: #f6f7f9; --line: #c4c8d0; --strong: #7d8390; --text: #1b1d22; --quiet: #5b6070; }
@media (prefers-color-scheme: dark) {
  svg { --panel: #1b1e24; --ground: #14161a; --line: #454b57; --strong: #7d8492; --text: #e6e8ec; --quiet: #a2a8b6; }
}
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: var(--quiet); }
.ground { fill: var(--panel); }
.box > rect { fill: var(--panel); stroke: var(--line); stroke-width: 1.25; }
.outer > rect { fill: var(--ground); }
.initial > rect { stroke: var(--text); stroke-width: 2; }
.title { font-size: 13px; fill: var(--text); }
.arrow path { fill: none; stroke: var(--strong); stroke-width: 1.1; }
.arrow text { font-size: 10.5px; paint-order: stroke; stroke: var(--panel); stroke-width: 4px; stroke-linejoin: round; }
marker path { fill: var(--strong); }
`;

const margin = 12;
const lineHeight = 16;

/** @param given a machine's definition, as XState has it */
export function chartSvg(given: object): string {
  const definition = asJson(given);
  const { id } = definition as { id: string };
  const root = machineBoxes(definition, { passed: [], current: null });
  const placed = layOut(root);
  const notes = answeredEverywhere(definition);
  const width = Math.ceil(placed.width) + 2 * margin;
  const height = Math.ceil(placed.height) + 2 * margin + lineHeight * notes.length;
  const about = `States: ${statesOf(root).join(", ")}. ${arrowsOf(root).join("; ")}.${notes.length > 0 ? ` In any state: ${notes.join("; ")}.` : ""}`;
  const top = `${-margin} ${-margin} ${width} ${height}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title about" width="${width}" height="${height}" viewBox="${top}">`,
    `<title id="title">${escaped(`The state machine "${id}"`)}</title>`,
    `<desc id="about">${escaped(about)}</desc>`,
    `<style>${style}</style>`,
    `<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0.8L7.4 4L0 7.2z"/></marker></defs>`,
    `<rect class="ground" x="${-margin}" y="${-margin}" width="${width}" height="${height}"/>`,
    ...inside(placed, initialsOf(definition)),
    ...notes.map(
      (note, nth) =>
        `<text x="0" y="${round(placed.height + lineHeight * (nth + 1))}">${escaped(`any state: ${note}`)}</text>`,
    ),
    "</svg>",
  ].join("\n");
}

/** In a definition's JSON the states that are led to stand by their names. */
function asJson(given: object): JsonObject {
  const read = parseJson(JSON.stringify(given));
  if (!read.ok) throw new Error(`the machine's definition ${read.problem}`);
  return read.value as JsonObject;
}

/**
 * The chart of a machine with the states that were passed in it, and the arrows between them: without a style of its own,
 * in the console's classes, for a page that has many of them.
 *
 * @param prefix of the ids in it
 */
export function walkSvg(given: object, passed: readonly string[], prefix: string): string {
  const placed = layOut(machineBoxes(asJson(given), { passed, current: null }));
  const width = Math.ceil(placed.width) + 4;
  const height = Math.ceil(placed.height) + 4;
  const markers = ["plain", "lit"].map(
    (kind) =>
      `<marker id="${prefix}-${kind}" class="${kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0.8L7.4 4L0 7.2z"/></marker>`,
  );
  return [
    `<svg width="${width}" height="${height}" viewBox="-2 -2 ${width} ${height}">`,
    `<defs>${markers.join("")}</defs>`,
    ...inside(placed, new Set(), (isLit) => `${prefix}-${isLit ? "lit" : "plain"}`),
    "</svg>",
  ].join("\n");
}

/** The marker at an arrow's end. */
type MarkerOf = (isLit: boolean) => string;

const inside = (
  { inner, arrows }: Placed,
  initials: ReadonlySet<string>,
  markerOf: MarkerOf = () => "arrow",
): string[] => [
  ...inner.flatMap((each) => node(each, initials, markerOf)),
  ...arrows
    .toSorted((one, other) => Number(one.arrow.isLit) - Number(other.arrow.isLit))
    .map((each) => line(each, markerOf)),
];

function node(placed: Placed, initials: ReadonlySet<string>, markerOf: MarkerOf): string[] {
  const { box, x, y, width, height } = placed;
  const isOuter = box.inner.length > 0;
  const classes = ["box", box.tone, isOuter ? "outer" : "", initials.has(box.id) ? "initial" : ""];
  const corner = box.isEnd === true ? height / 2 : 6;
  const middle = round(x + width / 2);
  return [
    `<g class="${classes.filter((name) => name !== "").join(" ")}">`,
    ...(box.about === undefined ? [] : [`<title>${escaped(box.about)}</title>`]),
    `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" rx="${round(corner)}"/>`,
    `<text class="title" x="${middle}" y="${round(isOuter ? y + 17 : y + height / 2 + 4.5)}" text-anchor="middle">${escaped(box.title)}</text>`,
    ...inside(placed, initials, markerOf),
    "</g>",
  ];
}

function line({ arrow, points, label }: PlacedArrow, markerOf: MarkerOf): string {
  const about = arrow.about === undefined ? "" : `<title>${escaped(arrow.about)}</title>`;
  const text =
    label === null || arrow.label === ""
      ? ""
      : `<text x="${round(label.x)}" y="${round(label.y + 4)}" text-anchor="middle">${escaped(arrow.label)}</text>`;
  return `<g class="arrow${arrow.isLit ? " lit" : ""}">${about}<path d="${curve(points)}" marker-end="url(#${markerOf(arrow.isLit)})"/>${text}</g>`;
}

const statesOf = ({ inner }: Box): string[] =>
  inner.flatMap((each) => [each.id.slice(each.id.indexOf(".") + 1), ...statesOf(each)]);

const arrowsOf = ({ inner, arrows }: Box): string[] => [
  ...arrows.flatMap(({ about = "" }) => about),
  ...inner.flatMap(arrowsOf),
];

interface StateNode {
  initial?: { target?: readonly string[] };
  states: Record<string, StateNode>;
}

/** The states in which it, and each state that has states, begins. */
function initialsOf(definition: object): Set<string> {
  const found = new Set<string>();
  const look = ({ initial, states }: StateNode): void => {
    for (const target of initial?.target ?? []) found.add(target.replace(/^#/, ""));
    Object.values(states).forEach(look);
  };
  look(definition as StateNode);
  return found;
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
};
const escaped = (text: string): string =>
  text.replaceAll(/[&<>"]/g, (letter) => entities[letter] ?? "");
