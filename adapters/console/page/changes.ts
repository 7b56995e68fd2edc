import { diffLines } from "diff";
import { useMemo } from "preact/hooks";
import type { Doc } from "./api.ts";
import { html } from "./html.ts";
import { visible } from "./parts.ts";

/** A change of a text that an action makes: both texts, or a patch that somebody else made. */
export type TextChange =
  | { where: string; before: string; after: string }
  | { where: string; patch: string };

/** What arguments of editing tools are called by the servers that are about. */
const pairs = [
  ["oldText", "newText"],
  ["old_text", "new_text"],
  ["old_string", "new_string"],
  ["old_str", "new_str"],
  ["before", "after"],
] as const;
/** As changes; all of them stand below with the rest of the call. */
export const changesShown = 50;

/** The changes in an action's input, wherever they stand in it. */
export function changesIn(input: Doc, where = ""): TextChange[] {
  if (typeof input === "string") {
    return /^(?:diff --git |--- .*\n\+\+\+ )/m.test(input) && /^@@ /m.test(input)
      ? [{ where, patch: input }]
      : [];
  }
  if (typeof input !== "object" || input === null) return [];
  // Each of them: which one the tool goes by is not known here.
  const files = [input.path, input.file_path, input.file].filter(
    (file) => typeof file === "string",
  );
  const place = files.length > 0 ? [...new Set(files)].join(" or ") : where;
  const pair = pairs.find(([a, b]) => typeof input[a] === "string" && typeof input[b] === "string");
  const own =
    pair === undefined ? [] : [{ where: place, before: input[pair[0]], after: input[pair[1]] }];
  const deeper = Object.entries(input)
    .filter(([name]) => pair === undefined || !(pair as readonly string[]).includes(name))
    .flatMap(([, value]) => changesIn(value, place));
  return [...own, ...deeper];
}

type Line = { sign: "+" | "-" | " " | "@"; text: string };
const linesShown = 2_000;
const mostCompared = 200_000;

export function Changes({ of }: { of: TextChange }) {
  const lines = useMemo(() => linesOf(of), [of]);
  return html`<figure class="diff">
    <figcaption>
      ${of.where === "" ? "Change" : html`<code dir="auto">${visible(of.where)}</code>`}
    </figcaption>
    <pre tabindex="0" dir="ltr">
${lines
        .slice(0, linesShown)
        .map(
          ({ sign, text }, at) =>
            html`<span key=${at} class=${names[sign]}
              >${sign === "@" ? "" : `${sign} `}${visible(text)}${"\n"}</span
            >`,
        )}</pre>
    ${lines.length > linesShown && html`<p class="cut">Only the first ${linesShown} of ${lines.length} lines are shown here; all of it stands below.</p>`}
  </figure>`;
}

const names = { "+": "added", "-": "removed", " ": "same", "@": "place" };

function linesOf(change: TextChange): Line[] {
  if ("patch" in change) {
    return change.patch.split("\n").map((line): Line => {
      if (/^(?:@@|diff |index |--- |\+\+\+ )/.test(line)) return { sign: "@", text: line };
      const sign = line.startsWith("+") ? "+" : line.startsWith("-") ? "-" : " ";
      return { sign, text: /^[+ -]/.test(line) ? line.slice(1) : line };
    });
  }
  const { before, after } = change;
  const isShort = before.length + after.length <= mostCompared;
  // Very long texts would be compared for seconds: one goes, the other comes.
  const parts = (isShort ? diffLines(before, after, { timeout: 500 }) : undefined) ?? [
    { value: before, removed: true, added: false },
    { value: after, added: true, removed: false },
  ];
  return parts.flatMap(({ value, added, removed }) =>
    value
      .replace(/\n$/, "")
      .split("\n")
      .map((text): Line => ({ sign: added ? "+" : removed ? "-" : " ", text })),
  );
}
