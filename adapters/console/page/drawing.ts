import { useMemo } from "preact/hooks";
import { html } from "./html.ts";
import { type Arrow, type Box, curve, layOut, type Placed, type PlacedArrow } from "./layout.ts";

/** How the parts of a drawing look now, where that changes more often than the drawing itself. */
export interface Marks {
  box(id: string): { tone: string; isCurrent: boolean; badge: string; isFresh: boolean };
  isLit(arrow: Arrow): boolean;
}

/**
 * Boxes and arrows as SVG. What it says stands beside it as text, too: a picture alone tells not everybody.
 *
 * @param marks stand in the place of the boxes' own looks; nothing is laid out anew for them
 */
export function Drawing({ of, label, marks }: { of: Box; label: string; marks?: Marks }) {
  const placed = useMemo(() => layOut(of), [of]);
  const width = Math.ceil(placed.width) + 4;
  const height = Math.ceil(placed.height) + 4;
  return html`<div class="drawing" tabindex="0" role="group" aria-label=${label}>
    <svg
      role="img"
      aria-label=${label}
      width=${width}
      height=${height}
      viewBox=${`-2 -2 ${width} ${height}`}
    >
      <defs>
        ${["plain", "lit"].map(
          (kind) =>
            html`<marker
              key=${kind}
              id=${`arrow-${kind}`}
              class=${kind}
              viewBox="0 0 8 8"
              refX="7"
              refY="4"
              markerWidth="7"
              markerHeight="7"
              orient="auto-start-reverse"
            >
              <path d="M0 0.8L7.4 4L0 7.2z" />
            </marker>`,
        )}
      </defs>
      <${Inside} of=${placed} marks=${marks} />
    </svg>
  </div>`;
}

type Marked<T> = { of: T; marks: Marks | undefined };

const Inside = ({ of, marks }: Marked<Placed>) =>
  html`${of.inner.map((each) => html`<${Node} key=${each.box.id} of=${each} marks=${marks} />`)}
  ${ordered(of.arrows, marks).map(
    (each) =>
      html`<${Line} key=${`${each.arrow.from} ${each.arrow.to}`} of=${each} marks=${marks} />`,
  )}`;

const isLit = ({ arrow }: PlacedArrow, marks: Marks | undefined) =>
  marks === undefined ? arrow.isLit : marks.isLit(arrow);

/** Lit ones last, so that they lie on top. */
const ordered = (arrows: readonly PlacedArrow[], marks: Marks | undefined) =>
  [...arrows].sort((a, b) => Number(isLit(a, marks)) - Number(isLit(b, marks)));

function Node({ of, marks }: Marked<Placed>) {
  const { box, x, y, width, height } = of;
  const mark = marks?.box(box.id);
  const { tone, isCurrent = false } = mark ?? box;
  const badge = mark?.badge ?? "";
  const classes = [
    "box",
    tone,
    isCurrent ? "current" : "",
    mark?.isFresh ? "fresh" : "",
    box.inner.length > 0 ? "outer" : "",
  ];
  const middle = x + width / 2;
  const isOuter = box.inner.length > 0;
  const base = isOuter ? y + 17 : y + (box.note === undefined ? height / 2 + 4.5 : 17);
  const drawn = html`<g class=${classes.join(" ")}>
    ${box.about !== undefined && html`<title>${box.about}</title>`}
    <rect x=${x} y=${y} width=${width} height=${height} rx=${box.isEnd ? height / 2 : 6} />
    <text class="title" x=${middle} y=${base} text-anchor="middle">${box.title}</text>
    ${
      box.note !== undefined &&
      html`<text class="note" x=${middle} y=${y + 33} text-anchor="middle">${box.note}</text>`
    }
    <${Inside} of=${of} marks=${marks} />
    ${
      badge !== "" &&
      html`<g class="count" transform=${`translate(${x + width - 4} ${y + 1})`}>
        <rect x=${-badgeWidth(badge) / 2} y="-9" width=${badgeWidth(badge)} height="18" rx="9" />
        <text y="4" text-anchor="middle">${badge}</text>
      </g>`
    }
  </g>`;
  return box.href === undefined ? drawn : html`<a href=${box.href}>${drawn}</a>`;
}

const badgeWidth = (text: string) => Math.max(18, 8 + 7 * text.length);

function Line({ of, marks }: Marked<PlacedArrow>) {
  const { arrow, points, label } = of;
  const kind = isLit(of, marks) ? "lit" : "plain";
  return html`<g class=${`arrow ${kind}`}>
    ${arrow.about !== undefined && html`<title>${arrow.about}</title>`}
    <path d=${curve(points)} marker-end=${`url(#arrow-${kind})`} />
    ${
      label !== null &&
      arrow.label !== "" &&
      html`<text x=${label.x} y=${label.y + 4} text-anchor="middle">${arrow.label}</text>`
    }
  </g>`;
}
