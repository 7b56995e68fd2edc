import { useEffect, useMemo, useState } from "preact/hooks";
import type { Doc } from "./api.ts";
import { Drawing, type Marks } from "./drawing.ts";
import { html } from "./html.ts";
import type { Store } from "./inspect-store.ts";
import { answeredEverywhere, machineBoxes } from "./machine-boxes.ts";

/** Definitions, once read. */
const definitions = new Map<string, Doc>();

/** Where one machine is in its chart, and how it came there; null while all of them are shown. */
export type Walk = { path: readonly string[]; current: string } | null;

/** A machine's chart as its definition draws it, with how many are in each state, or with one of them on it. */
export function Chart({ machine, store, walk }: { machine: string; store: Store; walk: Walk }) {
  const [, setRead] = useState(0);
  useEffect(() => {
    if (definitions.has(machine)) return;
    fetch(`/console/machines/${encodeURIComponent(machine)}.json`)
      .then((answer) => (answer.ok ? answer.json() : null))
      .catch(() => null)
      .then((definition) => {
        definitions.set(machine, definition);
        setRead((n) => n + 1);
      });
  }, [machine]);
  const definition = definitions.get(machine);
  const boxes = useMemo(
    () => (definition ? machineBoxes(definition, { passed: [], current: null }) : null),
    [definition],
  );
  if (definition === undefined) return html`<p class="quiet">Loading the chart…</p>`;
  if (boxes === null) return html`<p class="quiet">What has no states has no chart.</p>`;
  const marks = walk === null ? countMarks(machine, store) : walkMarks(machine, walk);
  const everywhere = answeredEverywhere(definition);
  return html`<${Drawing}
      of=${boxes}
      marks=${marks}
      label=${`The chart of the ${machine} machine`}
    />
    ${everywhere.length > 0 && html`<p class="quiet note">In any state: ${everywhere.join("; ")}.</p>`}`;
}

const isIn = (id: string, path: string) => path === id || path.startsWith(`${id}.`);

function countMarks(machine: string, store: Store): Marks {
  const states = [...(store.live.get(machine) ?? [])].filter(([, count]) => count > 0);
  return {
    box: (id) => {
      const count = states.reduce(
        (sum, [value, each]) => sum + (isIn(id, `${machine}.${value}`) ? each : 0),
        0,
      );
      const path = id.slice(machine.length + 1);
      const isFresh = store.isFresh(machine, path);
      const tone = count > 0 || isFresh ? "live" : "";
      return { tone, isCurrent: false, badge: count === 0 ? "" : short(count), isFresh };
    },
    isLit: () => false,
  };
}

const short = (n: number) => (n < 10_000 ? String(n) : `${Math.floor(n / 1_000)}k`);

function walkMarks(machine: string, walk: NonNullable<Walk>): Marks {
  const path = walk.path.map((value) => `${machine}.${value}`);
  const current = `${machine}.${walk.current}`;
  const hops = path.flatMap((to, nth) => (nth === 0 ? [] : [[path[nth - 1] ?? "", to] as const]));
  return {
    box: (id) => {
      const isHere = walk.current !== "" && isIn(id, current);
      const isPassed = path.some((each) => isIn(id, each));
      const tone = isHere ? "live" : isPassed ? "passed" : "";
      return { tone, isCurrent: id === current, badge: "", isFresh: false };
    },
    isLit: ({ from, to }) => hops.some(([before, after]) => isIn(from, before) && isIn(to, after)),
  };
}
