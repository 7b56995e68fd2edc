import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiFailure, Doc, Loaded } from "./api.ts";
import { html } from "./html.ts";

const hidden = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
const harmless = new Set(["\n", "\t"]);

/**
 * Foreign text as it can be shown: characters that nobody sees, and those that turn what follows them round (bidi), stand
 * there as their code. What a person approves must read as it is.
 */
/** What is no text, where one was expected, is shown as JSON: what runs and tools say may be anything. */
export const visible = (said: unknown): string =>
  asText(said).replaceAll(hidden, (letter) =>
    harmless.has(letter)
      ? letter
      : `‹U+${(letter.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}›`,
  );

const asText = (said: unknown): string =>
  typeof said === "string" ? said : said === undefined ? "" : JSON.stringify(said);

/** The first so many characters, none of them cut in two. */
export const start = (text: string, most: number): string =>
  text.slice(0, /[\uD800-\uDBFF]/.test(text[most - 1] ?? "") ? most - 1 : most);

const mostShown = 20_000;

/** Text of any length: the rest of a long one is shown when asked for, and it is said that there is one. */
export function Text({ text }: { text: string }) {
  const [isWhole, show] = useState(false);
  const isLong = text.length > mostShown && !isWhole;
  const shown = isLong ? start(text, mostShown) : text;
  return html`<div class="text">
    <pre dir="auto" tabindex="0">${visible(shown)}</pre>
    ${
      isLong &&
      html`<p class="cut">
        Only the first ${count(mostShown)} of ${count(text.length)} characters are shown.
        <button type="button" onClick=${() => show(true)}>Show all</button>
      </p>`
    }
  </div>`;
}

/** A document: a text as it stands, anything else as JSON. */
export const Value = ({ value }: { value: Doc }) =>
  html`<${Text} text=${typeof value === "string" ? value : JSON.stringify(value, null, 2)} />`;

const tones: Readonly<Record<string, string>> = {
  completed: "good",
  approved: "good",
  allow: "good",
  running: "live",
  queued: "live",
  created: "live",
  retrying: "live",
  waiting_approval: "wait",
  pending: "idle",
  ask: "wait",
  require_approval: "wait",
  failed: "bad",
  rejected: "bad",
  deny: "bad",
  policy_blocked: "bad",
  airlock_blocked: "bad",
  budget_killed: "bad",
  timeout: "bad",
};
export const toneOf = (status: string): string => tones[status] ?? "idle";

/** A status, as a word and a colour. */
export const Status = ({ of }: { of: string }) =>
  html`<span class="status ${toneOf(of)}">${visible(of).replaceAll("_", " ")}</span>`;

/** A step's status for people: the wire has one word for what was cut short and for what never began. */
export const stepWord = ({ status, error }: Doc): string =>
  status === "skipped" && error?.kind === "cancelled" ? "cancelled" : status;

export const count = (n: number | null | undefined): string =>
  n === null || n === undefined ? "" : n.toLocaleString("en");

export const money = (micros: number | null | undefined): string =>
  micros === null || micros === undefined
    ? ""
    : `$${(micros / 1e6).toFixed(micros !== 0 && micros < 10_000 ? 4 : 2)}`;

/** How long it took, or has taken so far; nothing where its start was heard of with its end. */
export function lasted(from: string | null, to: string | null): string {
  if (from === null) return "";
  const ms = Math.max(0, (to === null ? Date.now() : Date.parse(to)) - Date.parse(from));
  if (!Number.isFinite(ms)) return "";
  if (ms === 0 && to !== null) return "under 1 ms";
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** An instant: short, in the reader's own time, with the whole of it beside. */
export function Time({ at }: { at: string | null | undefined }) {
  const date = new Date(at ?? "");
  if (at === null || at === undefined || Number.isNaN(date.getTime())) return null;
  const isToday = date.toDateString() === new Date().toDateString();
  const clock = date.toLocaleTimeString([], { hour12: false });
  const day = date.toLocaleDateString([], { month: "short", day: "numeric" });
  return html`<time datetime=${at} title=${at}>${isToday ? clock : `${day}, ${clock}`}</time>`;
}

/** Facts side by side; those that say nothing are left out. */
export const Facts = ({ of }: { of: readonly (readonly [string, ComponentChildren])[] }) =>
  html`<dl class="facts">
    ${of
      .filter(([, said]) => said !== "" && said !== null && said !== undefined && said !== false)
      .map(
        ([name, said]) =>
          html`<div key=${name}>
            <dt>${name}</dt>
            <dd>${said}</dd>
          </div>`,
      )}
  </dl>`;

export function Trouble({ failure }: { failure: ApiFailure | null }) {
  if (failure === null) return null;
  return html`<p class="trouble" role="alert">${visible(failure.message)}</p>`;
}

/** What a page shows until there is something, and where there is nothing to show. */
export function Waiting({ of }: { of: Loaded }) {
  if (of.failure !== null) return html`<${Trouble} failure=${of.failure} />`;
  return of.data === null ? html`<p class="quiet" role="status">Loading…</p>` : null;
}

/** A page's heading, which takes the focus when the page is opened, so that whoever listens hears where they are. */
export function Heading({ title, children }: { title: string; children?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Stateplane`;
    if (document.activeElement === document.body || document.activeElement === null)
      heading.current?.focus({ preventScroll: true });
  }, [title]);
  return html`<div class="heading">
    <h1 tabindex="-1" ref=${heading}>${title}</h1>
    ${children}
  </div>`;
}

export interface Column {
  name: string;
  /** Of numbers, which are set in columns. */
  isNumber?: boolean;
  of: (row: Doc) => ComponentChildren;
}

/** A table; on a narrow screen each row becomes a card. */
export const Table = ({
  label,
  columns,
  rows,
  id,
}: {
  label: string;
  columns: readonly Column[];
  rows: readonly Doc[];
  id: (row: Doc) => string;
}) =>
  html`<table aria-label=${label}>
    <thead>
      <tr>
        ${columns.map(
          ({ name, isNumber }) =>
            html`<th key=${name} scope="col" class=${isNumber ? "number" : ""}>${name}</th>`,
        )}
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        (row) =>
          html`<tr key=${id(row)}>
            ${columns.map(
              ({ name, isNumber, of }) =>
                html`<td key=${name} data-name=${name} class=${isNumber ? "number" : ""}>
                  ${of(row)}
                </td>`,
            )}
          </tr>`,
      )}
    </tbody>
  </table>`;

/** An address within the page; every part of it is a value. */
export const to = (...parts: readonly string[]): string =>
  `#/${parts.map((part) => encodeURIComponent(part)).join("/")}`;

/** The end of an id: enough to tell two apart by eye, with the whole of it beside. */
export const Id = ({ of }: { of: string }) =>
  html`<code class="id" title=${of}
    >${of.length > 14 ? `${visible(start(of, 4))}…${visible(of.slice(-6))}` : visible(of)}</code
  >`;
