import { graphlib, layout } from "@dagrejs/dagre";

/** A node of a drawing, with what stands inside it. */
export interface Box {
  id: string;
  title: string;
  /** A second line. */
  note?: string | undefined;
  /** For whoever points at it. */
  about?: string | undefined;
  /** How it is coloured: a tone of a status, or nothing. */
  tone: string;
  isCurrent?: boolean;
  isEnd?: boolean;
  href?: string;
  inner: Box[];
  /** Between boxes of `inner`. */
  arrows: Arrow[];
}

export interface Arrow {
  from: string;
  to: string;
  label: string;
  about?: string;
  isLit: boolean;
}

export interface Placed {
  box: Box;
  /** The left upper corner, from that of the whole drawing. */
  x: number;
  y: number;
  width: number;
  height: number;
  inner: Placed[];
  arrows: PlacedArrow[];
}

export interface PlacedArrow {
  arrow: Arrow;
  points: { x: number; y: number }[];
  label: { x: number; y: number } | null;
}

const letter = 7.1;
const small = 6.2;
const widthOf = (text: string, each: number) => Math.ceil([...text].length * each);

/**
 * Where everything stands. Each box is laid out by itself, its insides first, and stands in the drawing around it as one
 * node: so nested states nest to any depth, and an arrow that leads from one box into another is an arrow between the two.
 */
export function layOut(root: Box): Placed {
  return moved(measure(root), 0, 0);
}

const padding = 12;
const titleHeight = 26;

function measure(box: Box): Placed {
  const isRoot = box.title === "";
  const heading = Math.max(widthOf(box.title, letter), widthOf(box.note ?? "", small)) + 24;
  const height = titleHeight + (box.note === undefined ? 4 : 18);
  const place = { box, x: 0, y: 0, inner: [], arrows: [] };
  if (box.inner.length === 0) return { ...place, width: Math.max(56, heading), height };

  const graph = new graphlib.Graph();
  graph.setGraph({ rankdir: "TB", nodesep: 22, ranksep: 30, edgesep: 14, marginx: 2, marginy: 2 });
  const inner = box.inner.map(measure);
  for (const each of inner) graph.setNode(each.box.id, { width: each.width, height: each.height });
  const arrows = box.arrows.filter(
    ({ from, to }) => from !== to && graph.hasNode(from) && graph.hasNode(to),
  );
  for (const arrow of arrows) {
    const width = widthOf(arrow.label, small);
    const size = arrow.label === "" ? {} : { width: width + 8, height: 16, labelpos: "c" };
    graph.setEdge(arrow.from, arrow.to, { ...size, minlen: 1 });
  }
  layout(graph);
  const { width = 0, height: high = 0 } = graph.graph() as { width?: number; height?: number };
  const top = isRoot ? 0 : height;
  const around = isRoot ? 2 : padding;
  const whole = Math.max(width + 2 * around, isRoot ? 0 : heading);
  const left = Math.max(around, (whole - width) / 2);
  return {
    ...place,
    width: whole,
    height: high + top + around,
    inner: inner.map((each) => {
      const { x, y } = graph.node(each.box.id) as { x: number; y: number };
      return moved(each, left + x - each.width / 2, top + y - each.height / 2);
    }),
    arrows: arrows.map((arrow) => {
      const edge = graph.edge(arrow.from, arrow.to) as {
        points: { x: number; y: number }[];
        x?: number;
        y?: number;
      };
      const points = edge.points.map(({ x, y }) => ({ x: left + x, y: top + y }));
      const { x, y } = edge;
      const label = x === undefined || y === undefined ? null : { x: left + x, y: top + y };
      return { arrow, points, label };
    }),
  };
}

function moved(placed: Placed, dx: number, dy: number): Placed {
  const shift = <P extends { x: number; y: number }>(point: P): P => ({
    ...point,
    x: point.x + dx,
    y: point.y + dy,
  });
  return {
    ...shift(placed),
    inner: placed.inner.map((each) => moved(each, dx, dy)),
    arrows: placed.arrows.map(({ arrow, points, label }) => ({
      arrow,
      points: points.map(shift),
      label: label === null ? null : shift(label),
    })),
  };
}

/** To a tenth: a picture shows no more. */
export const round = (n: number): number => Math.round(n * 10) / 10;

/** A line through the points as an SVG path, each corner a curve. */
export function curve(points: readonly { x: number; y: number }[]): string {
  const [first, ...rest] = points.map(({ x, y }) => ({ x: round(x), y: round(y) }));
  if (first === undefined) return "";
  const parts = [`M${first.x} ${first.y}`];
  for (const [at, point] of rest.entries()) {
    const next = rest[at + 1];
    if (next === undefined) parts.push(`L${point.x} ${point.y}`);
    else
      parts.push(
        `Q${point.x} ${point.y} ${round((point.x + next.x) / 2)} ${round((point.y + next.y) / 2)}`,
      );
  }
  return parts.join("");
}
