import { render } from "preact";
import { useEffect, useErrorBoundary, useState } from "preact/hooks";
import { html } from "./html.ts";
import { Chart, type Walk } from "./inspect-chart.ts";
import { Detail, Outcome, toneOf } from "./inspect-detail.ts";
import { List } from "./inspect-list.ts";
import { follow, type Line, type Row, Store, takeToken } from "./inspect-store.ts";
import { count, visible } from "./parts.ts";

const machines = ["step", "agent-loop", "workflow", "supervisor"] as const;
const names: Readonly<Record<string, string>> = {
  step: "Steps",
  "agent-loop": "Agent loops",
  workflow: "Workflows",
  supervisor: "Supervisor",
};

const noFilter = { run: "", step: "", state: "", outcome: "" };
type Filter = typeof noFilter;

const matches = (row: Row, { run, step, state, outcome }: Filter): boolean =>
  (run === "" || (row.runId ?? "").includes(run)) &&
  (step === "" || (row.stepId ?? row.name).includes(step)) &&
  (state === "" || row.value === state || row.value.startsWith(`${state}.`)) &&
  (outcome === "" || (outcome === "alive" ? row.outcome === null : row.outcome === outcome));

function Inspector({ token, store }: { token: string; store: Store }) {
  const [, draw] = useState(0);
  const [machine, setMachine] = useState<string>("step");
  const [filter, setFilter] = useState<Filter>(noFilter);
  const [chosen, setChosen] = useState<number | null>(null);
  const [kept, setKept] = useState<{ runId: string; stepId: string } | null>(null);
  const [walk, setWalk] = useState<Walk>(null);
  const [error] = useErrorBoundary();
  useEffect(() => {
    store.onChange(() => draw((n) => n + 1));
    void follow(token, store);
  }, []);
  if (error !== undefined)
    return html`<main>
      <p class="trouble" role="alert">
        ${visible(String(error))}. Reload the page; if it stays so, please report it.
      </p>
    </main>`;
  if (store.connection === "refused") return html`<${Refused} />`;

  const row = chosen === null ? null : (store.rows.get(chosen) ?? null);
  const ofMachine = [...store.rows.values()].filter((each) => each.machine === machine);
  const found = ofMachine.filter((each) => matches(each, filter)).toReversed();
  const close = () => {
    setChosen(null);
    setKept(null);
    setWalk(null);
  };
  const choose = (id: number) => {
    const wanted = store.rows.get(id);
    if (wanted === undefined) return;
    if (wanted.machine !== machine && names[wanted.machine] !== undefined)
      setMachine(wanted.machine);
    setKept(null);
    setWalk(null);
    setChosen(id);
  };
  const isChosen = row !== null || kept !== null;
  const lines =
    chosen === null
      ? filterLines(store.log, filter)
      : store.log.filter(({ entry }) => entry === chosen);
  return html`<a class="skip" href="#content">Skip to the content</a>
    <header>
      <span class="brand">Stateplane <span class="quiet">inspector</span></span>
      <nav aria-label="Machines">
        ${machines.map(
          (name) =>
            html`<a
              key=${name}
              href="#content"
              aria-current=${name === machine ? "page" : undefined}
              onClick=${(event: Event) => {
                event.preventDefault();
                setMachine(name);
                close();
              }}
              >${`${names[name]} `}<span class="badge idle"
                >${count(aliveOf(store, name))} alive</span
              ></a
            >`,
        )}
      </nav>
      <div class="right">
        <a href="/stately">Stately Inspector</a> <${Connected} store=${store} />
      </div>
    </header>
    <main id="content" tabindex="-1" class=${isChosen ? "inspect with-detail" : "inspect"}>
      <div class="left">
        <div class="totals" aria-label="Steps that ended while this was watched">
          ${[...store.outcomes]
            .filter(([, n]) => n > 0)
            .map(
              ([outcome, n]) =>
                html`<span key=${outcome} class=${`status ${toneOf(outcome)}`}
                  >${count(n)} ${visible(outcome)}</span
                >`,
            )}
          ${store.unseen > 0 && html`<span class="quiet">${count(store.unseen)} more came too fast to be listed</span>`}
        </div>
        <${Chart} machine=${machine} store=${store} walk=${isChosen ? walk : null} />
      </div>
      <div class="middle">
        <${Filters}
          filter=${filter}
          onChange=${setFilter}
          rows=${ofMachine}
          found=${found.length}
        />
        ${
          found.length > 0
            ? html`<${List}
                className="actors"
                label=${`${names[machine]}, the newest first`}
                items=${found}
                idOf=${({ id }: Row) => id}
                chosen=${chosen}
                onChoose=${({ id }: Row) => choose(id)}
                of=${actorCells}
              />`
            : html`<${Nothing}
                machine=${machine}
                filter=${filter}
                hasSome=${ofMachine.length > 0}
                onLook=${() => {
                  setChosen(null);
                  setKept({ runId: filter.run.trim(), stepId: filter.step.trim() });
                }}
              />`
        }
        <h2>
          Events${store.skipped > 0 && html` <span class="quiet">(${count(store.skipped)} came too fast to be shown)</span>`}
        </h2>
        <${List}
          className="log"
          label="Events, the newest last"
          items=${lines}
          idOf=${({ n }: Line) => n}
          chosen=${null}
          onChoose=${({ entry }: Line) => choose(entry)}
          of=${lineCells}
          follows
        />
      </div>
      ${
        isChosen &&
        html`<${Detail}
          key=${row?.id ?? JSON.stringify(kept)}
          token=${token}
          row=${row}
          step=${kept}
          onWalk=${setWalk}
          onChoose=${choose}
          onClose=${close}
        />`
      }
    </main>`;
}

const aliveOf = (store: Store, machine: string): number =>
  [...(store.live.get(machine)?.values() ?? [])].reduce((sum, n) => sum + n, 0);

const filterLines = (log: readonly Line[], { run, step, state }: Filter): readonly Line[] =>
  run === "" && step === "" && state === ""
    ? log
    : log.filter(
        (line) =>
          (run === "" || (line.runId ?? "").includes(run)) &&
          (step === "" || line.name.includes(step)) &&
          (state === "" || line.value === state || line.value.startsWith(`${state}.`)),
      );

const actorCells = (row: Row) =>
  html`<${Short} of=${row.name} />
    <span class="kind quiet">${row.stepType ?? ""}</span>
    <span class="about">${visible(row.about ?? "")}</span>
    <${Outcome} of=${row.outcome} value=${row.value} />
    <span class="quiet event">${visible(row.event)}</span>
    <${Short} of=${row.runId ?? ""} />`;

/** Ids of one moment differ in their ends alone. */
const Short = ({ of }: { of: string }) =>
  html`<code class="name" title=${of}
    >${/^[a-z]+_\w{20,}/.test(of) ? `${of.slice(0, 4)}…${visible(of.slice(-7))}` : visible(of)}</code
  >`;

const lineCells = ({ at, name, event, value }: Line) =>
  html`<time class="quiet">${new Date(at).toISOString().slice(11, 23)}</time>
    <${Short} of=${name} />
    <span class="state">${visible(value)}</span>
    <span class="quiet event">${visible(event)}</span>`;

const usualOutcomes = [
  "alive",
  "completed",
  "failed",
  "parked",
  "released",
  "abandoned",
  "crashed",
];

function Filters({
  filter,
  onChange,
  rows,
  found,
}: {
  filter: Filter;
  onChange: (filter: Filter) => void;
  rows: readonly Row[];
  found: number;
}) {
  const set = (name: keyof Filter) => (event: Event) =>
    onChange({ ...filter, [name]: (event.currentTarget as HTMLInputElement).value });
  const states = [...new Set(rows.map(({ value }) => value).concat(filter.state))]
    .filter((value) => value !== "")
    .sort();
  const outcomes = [
    ...new Set([...usualOutcomes, ...rows.map(({ outcome }) => outcome ?? "alive")]),
  ];
  const pick = (name: "state" | "outcome", values: readonly string[]) =>
    html`<label
      >${name === "state" ? "State" : "Outcome"}
      <select value=${filter[name]} onChange=${set(name)}>
        <option value="">any</option>
        ${values.map((value) => html`<option key=${value} value=${value}>${visible(value)}</option>`)}
      </select>
    </label>`;
  return html`<div class="filters" role="search">
    <label
      >Run <input value=${filter.run} onInput=${set("run")} spellcheck=${false} size="14"
    /></label>
    <label
      >Step <input value=${filter.step} onInput=${set("step")} spellcheck=${false} size="14"
    /></label>
    ${pick("state", states)} ${pick("outcome", outcomes)}
    <span class="quiet" role="status">${count(found)} of ${count(rows.length)}</span>
    ${Object.values(filter).some((value) => value !== "") && html`<button type="button" class="plain" onClick=${() => onChange(noFilter)}>Clear</button>`}
  </div>`;
}

function Nothing({
  machine,
  filter,
  hasSome,
  onLook,
}: {
  machine: string;
  filter: Filter;
  hasSome: boolean;
  onLook: () => void;
}) {
  const { run, step } = filter;
  if (machine === "step" && run.trim() !== "" && step.trim() !== "")
    return html`<div class="empty">
      This worker has not seen such a step.
      <button type="button" onClick=${onLook}>Look in the store</button>
    </div>`;
  return html`<p class="empty">
    ${hasSome ? "None of them is like that. With a whole run and step, the store can be looked into." : "There are none yet. They appear here as they begin."}
  </p>`;
}

const said = {
  connecting: "connecting",
  live: "live",
  lost: "connection lost; trying again",
  refused: "",
};
const Connected = ({ store }: { store: Store }) =>
  html`<span class=${`status ${store.connection === "live" ? "good" : "wait"}`} role="status"
    >${said[store.connection]}</span
  >`;

const Refused = () =>
  html`<main class="sign-in">
    <h1>The inspector needs its token</h1>
    <p>
      Open the whole address that was printed at start, with what stands after the #. Each start
      makes a new one.
    </p>
  </main>`;

const root = document.getElementById("page");
if (root !== null) {
  document.title = "Inspector · Stateplane";
  // Whoever puts the whole address into a tab that has none starts anew with it.
  addEventListener("hashchange", () => location.hash.includes("token=") && location.reload());
  const token = takeToken();
  const store = new Store();
  render(
    token === null ? html`<${Refused} />` : html`<${Inspector} token=${token} store=${store} />`,
    root,
  );
}
