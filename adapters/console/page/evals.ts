import { useEffect, useMemo, useState } from "preact/hooks";
import { type Doc, useApi } from "./api.ts";
import { Drawing } from "./drawing.ts";
import { html } from "./html.ts";
import { machineBoxes } from "./machine-boxes.ts";
import {
  count,
  Facts,
  Heading,
  money,
  Table,
  Text,
  Time,
  to,
  Value,
  visible,
  Waiting,
} from "./parts.ts";

const slowly = 15_000;

/** What evals of this project found. */
export function Evals() {
  const all = useApi("/v1/evals?limit=200", slowly);
  if (all.failure?.status === 404) {
    return html`<${Heading} title="Evals" />
      <p class="empty">
        This control plane was given no folder of reports: set <code>EVALS_REPORTS_PATH</code>. On
        the command line: <code>stateplane eval report FILE</code>
      </p>`;
  }
  const rows: Doc[] = all.data?.evals ?? [];
  const problems: Doc[] = all.data?.problems ?? [];
  return html`<${Heading} title="Evals" />
    <${Waiting} of=${all} />
    ${
      rows.length > 0 &&
      html`<${Table}
        label="Evals"
        rows=${rows}
        id=${(row: Doc) => row.file}
        columns=${[
          {
            name: "Suite",
            of: (row: Doc) =>
              html`<span
                ><a href=${to("evals", row.id)}>${visible(row.suite)}</a> <${Marks} of=${row}
              /></span>`,
          },
          { name: "Agent", of: (row: Doc) => visible(row.agent) },
          { name: "Passed", isNumber: true, of: (row: Doc) => rateOf(row) },
          { name: "Trials", isNumber: true, of: (row: Doc) => `${row.passed} of ${row.trials}` },
          { name: "Cost", isNumber: true, of: (row: Doc) => costOf(row) },
          {
            name: "Ended",
            isNumber: true,
            of: (row: Doc) => html`<${Time} at=${row.ended_at} />`,
          },
        ]}
      />`
    }
    ${all.data !== null && rows.length === 0 && html`<p class="empty">There are no reports yet. Make one: <code>stateplane eval run SUITE</code></p>`}
    ${problems.map(
      ({ file, problem }: Doc) =>
        html`<p key=${file} class="trouble">
          <code>${visible(file)}</code> is no report that can be shown: ${visible(problem)}
        </p>`,
    )}`;
}

/** What must be known of a report before its numbers are believed. */
const Marks = ({ of: { mock, complete } }: { of: Doc }) =>
  html`${mock && html`<span class="status bad">mock</span>`}
  ${!complete && html`<span class="status wait">not complete</span>`}`;

const percent = (rate: number): string => `${(rate * 100).toFixed(1).replace(/\.0$/, "")} %`;

/** The rate of trials that passed, with what it may be but for chance. */
const rateOf = ({ pass_rate: rate, interval }: Doc): string => {
  if (rate === null) return "nothing measured";
  if (interval === null) return percent(rate);
  return `${percent(rate)} (95 %: ${percent(interval.low)} to ${percent(interval.high)})`;
};

const costOf = ({ cost_micros: cost }: Doc): string => (cost === null ? "unknown" : money(cost));

const tones: Readonly<Record<string, string>> = {
  passed: "good",
  unsteady: "wait",
  failed: "bad",
  refused: "bad",
  ok: "good",
  allow: "good",
  ask: "wait",
  deny: "bad",
  timed_out: "bad",
};
const Outcome = ({ of }: { of: string }) =>
  html`<span class=${`status ${tones[of] ?? "idle"}`}>${visible(of).replaceAll("_", " ")}</span>`;

/** One eval: in all, and task by task; a task's trials are read when it is opened. */
export function Eval({ id }: { id: string }) {
  const whole = useApi(`/v1/evals/${encodeURIComponent(id)}`, slowly);
  const [shown, show] = useState("");
  const { data } = whole;
  const all: Doc[] = data?.rows ?? [];
  const rows = shown === "" ? all : all.filter(({ kind }) => kind === shown);
  const kinds = [...new Set(all.map(({ kind }) => String(kind)))];
  return html`<p class="way"><a href=${to("evals")}>Evals</a></p>
    <${Heading} title=${data === null ? "Eval" : visible(data.suite)}>
      ${data !== null && html`<${Marks} of=${data} />`}
    <//>
    <${Waiting} of=${whole} />
    ${
      data !== null &&
      html`<${Facts}
          of=${[
            ["Count for nothing", data.uncounted > 0 && count(data.uncounted)],
            ["Cost", costOf(data)],
            ["Agent", visible(data.agent)],
            ["Run by", visible(data.control_plane)],
            ["Ended", html`<${Time} at=${data.ended_at} />`],
            ["File", html`<code>${visible(data.file)}</code>`],
          ]}
        />
        ${data.lines.map((line: string) => html`<div key=${line}>${visible(line)}</div>`)}
        <h2>Tasks</h2>
        <div class="filters">
          <label>
            Show
            <select
              value=${shown}
              onChange=${(event: Event) => show((event.target as HTMLSelectElement).value)}
            >
              <option value="">all</option>
              ${kinds.map((kind) => html`<option key=${kind} value=${kind}>${kind}</option>`)}
            </select>
          </label>
          <span role="status">${count(rows.length)} of ${count(all.length)} tasks</span>
        </div>
        ${rows.map((row) => html`<${Task} key=${row.id} evalId=${id} row=${row} />`)}`
    }`;
}

function Task({ evalId, row }: { evalId: string; row: Doc }) {
  const [isOpen, open] = useState(false);
  const { id, category, kind, passed, score, cost, time, why } = row;
  const numbers = [`${passed} passed`, score && `score ${score}`, cost, time].filter(Boolean);
  const said = visible([category, ...numbers].join(" · "));
  return html`<details
    class="panel"
    onToggle=${(event: Event) => open((event.currentTarget as HTMLDetailsElement).open)}
  >
    <summary>
      <${Outcome} of=${kind} /> <strong dir="auto">${visible(id)}</strong> ${said}
      ${why !== "" && html`<span class="reason" dir="auto"> · ${visible(why)}</span>`}
    </summary>
    ${isOpen && html`<${Trials} evalId=${evalId} taskId=${id} />`}
  </details>`;
}

function Trials({ evalId, taskId }: { evalId: string; taskId: string }) {
  const task = useApi(
    `/v1/evals/${encodeURIComponent(evalId)}/tasks/${encodeURIComponent(taskId)}`,
    0,
  );
  return html`<${Waiting} of=${task} />
    ${(task.data?.trials ?? []).map((trial: Doc) => html`<${Trial} key=${trial.epoch} of=${trial} />`)}`;
}

function Trial({ of }: { of: Doc }) {
  const { epoch, status, passed, scores = [], observation, error } = of;
  const { steps = [], calls = [], diff, output, run_id: runId } = observation ?? {};
  return html`<section aria-label=${`Trial ${epoch + 1}`}>
    <h2>
      Trial ${epoch + 1}
      <${Outcome} of=${status === "scored" ? (passed ? "passed" : "failed") : status} />
      ${runId !== undefined && html`<code class="quiet"> ${visible(runId)}</code>`}
    </h2>
    ${error !== undefined && html`<p class="reason" dir="auto">${visible(error)}</p>`}
    ${
      scores.length > 0 &&
      html`<${Table}
        label="Scores"
        rows=${scores}
        id=${(score: Doc) => score.scorer}
        columns=${[
          { name: "Scorer", of: (score: Doc) => visible(score.scorer) },
          {
            name: "Outcome",
            of: ({ skipped, passed: good }: Doc) =>
              html`<${Outcome}
                of=${skipped !== undefined ? "skipped" : good ? "passed" : "failed"}
              />`,
          },
          {
            name: "Score",
            isNumber: true,
            of: ({ skipped, score }: Doc) => (skipped === undefined ? score.toFixed(2) : ""),
          },
          {
            name: "Why",
            of: ({ skipped, message }: Doc) =>
              html`<span dir="auto">${visible(skipped ?? message)}</span>`,
          },
        ]}
      />`
    }
    ${steps.map((step: Doc) => html`<${Walked} key=${step.id} of=${step} />`)}
    ${
      calls.length > 0 &&
      html`<h2>Tool calls</h2>
        <${Table}
          label="Tool calls"
          rows=${calls.map((call: Doc, at: number) => ({ ...call, at }))}
          id=${(call: Doc) => call.at}
          columns=${[
            { name: "Tool", of: (call: Doc) => html`<code>${visible(call.tool)}</code>` },
            { name: "Verdict", of: (call: Doc) => html`<${Outcome} of=${call.verdict} />` },
            { name: "Outcome", of: (call: Doc) => html`<${Outcome} of=${call.outcome} />` },
            {
              name: "Arguments",
              of: (call: Doc) => html`<code dir="auto">${visible(call.arguments)}</code>`,
            },
          ]}
        />`
    }
    ${
      typeof diff === "string" &&
      diff !== "" &&
      html`<details>
        <summary>Diff</summary>
        <${Text} text=${diff} />
      </details>`
    }
    ${
      output !== undefined &&
      output !== null &&
      html`<details>
        <summary>Output</summary>
        <${Value} value=${output} />
      </details>`
    }
  </section>`;
}

/** The states that a step passed, and on its machine's chart once that is opened. */
function Walked({ of: { id, name, type, status, states } }: { of: Doc }) {
  const [isOpen, open] = useState(false);
  const passed: string[] = states.map(({ state }: Doc) => String(state));
  return html`<h2>
      ${visible(name ?? id)} <span class="quiet">${visible(type)}</span>
      <${Outcome} of=${status === "completed" ? "passed" : status} />
    </h2>
    ${
      passed.length === 0
        ? html`<p class="quiet">Nobody saw which states it passed.</p>`
        : html`<ol class="walk" aria-label="The states it passed">
              ${passed.map((state, at) => html`<li key=${at}>${visible(state)}</li>`)}
            </ol>
            <details
              onToggle=${(event: Event) => open((event.currentTarget as HTMLDetailsElement).open)}
            >
              <summary>On the machine's chart</summary>
              ${isOpen && html`<${Chart} passed=${passed} />`}
            </details>`
    }`;
}

function Chart({ passed }: { passed: readonly string[] }) {
  const [definition, setDefinition] = useState<Doc>(null);
  useEffect(() => {
    void fetch("/console/machines/step.json")
      .then((answer) => answer.json())
      .then(setDefinition);
  }, []);
  const boxes = useMemo(
    () => (definition === null ? null : machineBoxes(definition, { passed, current: null })),
    [definition, passed.join(" ")],
  );
  return html`${boxes !== null && html`<${Drawing} of=${boxes} label="The step machine's chart, with the states that this step passed" />`}`;
}
