import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "./html.ts";
import type { Walk } from "./inspect-chart.ts";
import { read, type Row } from "./inspect-store.ts";
import { Tree } from "./inspect-tree.ts";
import { lasted, visible } from "./parts.ts";

interface Session {
  id: number;
  machine: string;
  name: string;
  began: number;
  outcome: string | null;
  passed: string[];
  from: number;
  moments: { at: number; event: string; value: string; isRecorded: boolean }[];
}
interface Timeline {
  sessions: Session[];
  related: { id: number; machine: string; name: string }[];
}
/** One moment of a history, wherever it was found. */
interface Moment {
  at: number;
  event: string;
  value: string;
  /** Where its context can be read; null where nothing more is known of it. */
  path: string | null;
  begins: boolean;
}

/** What the store keeps of a step; see `recordOf` of the server. */
interface Record {
  phase: string;
  wakeAt: number | null;
  stateHistory: string[];
  journal: unknown[];
  result: unknown;
  context: unknown;
}

const iso = (at: number) => (at === 0 ? null : new Date(at).toISOString());
const clock = (at: number) => (at === 0 ? "" : new Date(at).toISOString().slice(11, 23));

interface DetailProps {
  token: string;
  /** What was chosen; of a step that only the store knows, its run and its step. */
  row: Row | null;
  key: string;
  step: { runId: string; stepId: string } | null;
  onWalk: (walk: Walk) => void;
  onChoose: (id: number) => void;
  onClose: () => void;
}

/** One machine: its history as a timeline to step through, what each event brought, and its context then. */
export function Detail({ token, row, step, onWalk, onChoose, onClose }: DetailProps) {
  const [timeline, setTimeline] = useState<Timeline | null>(null);
  const [record, setRecord] = useState<Record | null>(null);
  const [place, setPlace] = useState<number | null>(null);
  const [detail, setDetail] = useState<{ path: string; event: unknown; context: unknown } | null>(
    null,
  );
  const runId = row?.runId ?? step?.runId ?? null;
  const stepId = row?.stepId ?? step?.stepId ?? null;
  const isStep = row === null || row.machine === "step";

  // Read again when it has moved, at most a few times a second.
  useLatest(row === null ? null : `${row.moves} ${row.outcome}`, 250, async () => {
    if (row !== null) setTimeline((await read(token, `actors/${row.id}`)) as Timeline | null);
  });
  useLatest(isStep ? `${row?.outcome ?? ""} ${row?.moves ?? ""}` : null, 1_000, async () => {
    if (runId === null || stepId === null) return;
    const query = new URLSearchParams({ run: runId, step: stepId });
    setRecord((await read(token, `record?${query}`)) as Record | null);
  });
  const moments = timeline === null ? momentsOf(record) : momentsIn(timeline);
  const at = Math.min(place ?? moments.length - 1, moments.length - 1);
  const moment = moments[at];
  const passed = moments.slice(0, at + 1).map(({ value }) => value);
  const walkKey = passed.join(" ");
  useEffect(() => {
    onWalk(moment === undefined ? null : { path: passed, current: moment.value });
  }, [walkKey]);
  useLatest(moment?.path ?? null, 100, async () => {
    const path = moment?.path;
    if (!path) return setDetail(null);
    const found = (await read(token, path)) as { event: unknown; context: unknown } | null;
    setDetail(found === null ? null : { path, ...found });
  });

  const go = (to: number) => {
    const next = Math.max(0, Math.min(to, moments.length - 1));
    // At the newest one it goes on with what comes.
    setPlace(next === moments.length - 1 ? null : next);
  };
  const machine = row?.machine ?? "step";
  const title = row?.name ?? stepId ?? "";
  const shown = moment?.path != null && detail?.path === moment.path ? detail : null;
  const isOpening = detail !== null && moment?.path != null && shown === null;
  return html`<section class="panel detail" aria-label="The chosen machine">
    <div class="heading">
      <h2>${machine} <code>${visible(title)}</code></h2>
      <${Outcome}
        of=${row?.outcome ?? (row === null ? (record?.phase ?? null) : null)}
        value=${row?.value ?? ""}
      />
      <button type="button" class="plain" onClick=${onClose}>Close</button>
    </div>
    <p class="quiet about">
      ${runId !== null && html`run <code>${visible(runId)}</code>`}
      ${row?.stepType && ` · ${row.stepType}`}
      ${row?.about && html`${" "}<code>${visible(row.about)}</code>`}
      ${row !== null && ` · ${lasted(iso(row.began), row.outcome === null ? null : iso(row.at))}`}
      ${record !== null && ` · in the store: ${record.phase}`}
      ${record?.wakeAt != null && `, wakes at ${iso(record.wakeAt)}`}
    </p>
    ${
      timeline !== null &&
      timeline.related.length > 0 &&
      html`<p class="related">
        ${timeline.related.map(({ id, machine: kind, name }) => html`<button key=${id} type="button" class="plain" onClick=${() => onChoose(id)}>${kind} ${visible(name)}</button>`)}
      </p>`
    }
    ${
      moments.length === 0
        ? html`<p class="quiet">Nothing of its history is kept here.</p>`
        : html`<div class="stepper">
              <button type="button" disabled=${at <= 0} onClick=${() => go(at - 1)}>◀ Back</button>
              <input
                type="range"
                min="0"
                max=${moments.length - 1}
                value=${at}
                aria-label="Place in the history"
                aria-valuetext=${moment === undefined ? "" : `${at + 1} of ${moments.length}: ${moment.value}`}
                onInput=${(event: Event) => go(Number((event.currentTarget as HTMLInputElement).value))}
              />
              <button
                type="button"
                disabled=${at >= moments.length - 1}
                onClick=${() => go(at + 1)}
              >
                Forward ▶
              </button>
              <span class="quiet">${at + 1} of ${moments.length}</span>
            </div>
            <${Moments} of=${moments} at=${at} onGo=${go} />`
    }
    ${
      moment !== undefined &&
      moment.event !== "" &&
      html`<h3>Event</h3>
        ${shown === null ? html`<code>${visible(moment.event)}</code>` : html`<${Tree} key=${moment.path} name=${moment.event} value=${withoutType(shown.event)} isOpen />`}`
    }
    ${
      moment !== undefined &&
      html`<h3>Context${place === null ? "" : " at that moment"}</h3>
        ${
          shown !== null && shown.context !== null
            ? html`<div class="tree">
                <${Tree} key=${row?.id} name="context" value=${shown.context} isOpen />
              </div>`
            : record?.context
              ? html`<div class="tree">
                  <${Tree} name="context, as the store keeps it" value=${record.context} isOpen />
                </div>`
              : html`<p class="quiet">
                  ${isOpening ? "Loading…" : "Its context is not kept: nobody looked then, or too much has happened since."}
                </p>`
        }`
    }
    ${
      record !== null &&
      (record.stateHistory.length > 0 || record.journal.length > 0 || record.result !== null) &&
      html`<h3>In the store</h3>
        <div class="tree">
          ${record.stateHistory.length > 0 && html`<p class="quiet">States over all sessions: ${record.stateHistory.map(visible).join(" ▸ ")}</p>`}
          ${record.journal.length > 0 && html`<${Tree} name="journal" value=${record.journal} />`}
          ${record.result !== null && html`<${Tree} name="result" value=${record.result} />`}
        </div>`
    }
  </section>`;
}

const withoutType = (event: unknown): unknown => {
  if (typeof event !== "object" || event === null) return event;
  const { type: _type, ...more } = event as { type?: string };
  return more;
};

/** How it ended, or where it is. */
export const Outcome = ({ of, value }: { of: string | null; value: string }) =>
  html`<span class=${`status ${toneOf(of)}`}>${visible(of ?? value).replaceAll("_", " ")}</span>`;

export function toneOf(outcome: string | null): string {
  if (outcome === null) return "live";
  if (outcome === "completed" || outcome === "done") return "good";
  if (outcome === "parked") return "wait";
  if (outcome === "failed" || outcome === "crashed" || outcome === "error") return "bad";
  return "idle";
}

function Moments({
  of,
  at,
  onGo,
}: {
  of: readonly Moment[];
  at: number;
  onGo: (to: number) => void;
}) {
  const box = useRef<HTMLOListElement>(null);
  useEffect(() => {
    const now = box.current?.children[at] as HTMLElement | undefined;
    if (now === undefined || box.current === null) return;
    const { offsetTop, offsetHeight } = now;
    const { scrollTop, clientHeight } = box.current;
    if (offsetTop < scrollTop || offsetTop + offsetHeight > scrollTop + clientHeight)
      box.current.scrollTop = offsetTop - clientHeight / 2;
  }, [at, of.length]);
  return html`<ol class="moments" ref=${box} aria-label="History">
    ${of.map(
      (moment, nth) =>
        html`<li key=${nth} class=${moment.begins && nth > 0 ? "begins" : ""}>
          <button
            type="button"
            class=${nth === at ? "now" : ""}
            aria-current=${nth === at ? "step" : undefined}
            onClick=${() => onGo(nth)}
          >
            <time>${clock(moment.at)}</time>
            <span class="state">${visible(moment.value) || "·"}</span>
            <span class="quiet">${visible(moment.event)}</span>
          </button>
        </li>`,
    )}
  </ol>`;
}

const momentsIn = ({ sessions }: Timeline): Moment[] =>
  sessions.flatMap(({ id, from, passed, moments }) => [
    ...passed.map(unwatched),
    ...moments.map(({ at, event, value, isRecorded }, nth) => ({
      at,
      event,
      value,
      path: isRecorded ? `actors/${id}/moments/${from + nth}` : null,
      begins: nth === 0 && passed.length === 0,
    })),
  ]);

const unwatched = (value: string): Moment => ({
  at: 0,
  event: "",
  value,
  path: null,
  begins: false,
});

/** Of a step that nobody watched: the states that the store has, without their times. */
const momentsOf = (record: Record | null): Moment[] => (record?.stateHistory ?? []).map(unwatched);

/** Does it when `what` has changed, at most every `everyMs`, the last time in any case. Null does nothing. */
function useLatest(what: string | null, everyMs: number, work: () => Promise<void>): void {
  const state = useRef({ at: -Infinity, timer: 0, work });
  state.current.work = work;
  useEffect(() => {
    if (what === null) return;
    const { current } = state;
    clearTimeout(current.timer);
    const wait = Math.max(0, current.at + everyMs - performance.now());
    current.timer = Number(
      setTimeout(() => {
        current.at = performance.now();
        void current.work();
      }, wait),
    );
  }, [what]);
  useEffect(() => () => clearTimeout(state.current.timer), []);
}
