import { useEffect, useState } from "preact/hooks";
import { ApiFailure, call, type Doc, useApi } from "./api.ts";
import { html } from "./html.ts";
import {
  type Column,
  count,
  Heading,
  Id,
  lasted,
  money,
  start,
  Status,
  Table,
  Time,
  to,
  Trouble,
  visible,
  Waiting,
} from "./parts.ts";

/** Of a run that goes on no more. */
export const endedStatuses = [
  "completed",
  "failed",
  "cancelled",
  "timeout",
  "budget_killed",
  "policy_blocked",
  "airlock_blocked",
];
export const statuses = ["created", "queued", "running", "waiting_approval", ...endedStatuses];
const aPage = 50;

/** What a run is to do, in a line. */
export function taskOf(run: Doc): string {
  const { input } = run;
  const said = typeof input === "string" ? input : (input?.task ?? input?.prompt ?? input?.query);
  const isEmpty = typeof input !== "string" && Object.keys(input ?? {}).length === 0;
  const text = typeof said === "string" ? said : isEmpty ? "" : JSON.stringify(input);
  return visible(start(text, 120));
}

export function useAgentNames(): (id: string) => string {
  const { data } = useApi("/v1/registry/agents?limit=100", 0);
  const names = new Map<string, string>((data ?? []).map(({ id, slug }: Doc) => [id, slug]));
  return (id) => names.get(id) ?? id;
}

export const runColumns = (agentOf: (id: string) => string): Column[] => [
  { name: "Run", of: (run) => html`<a href=${to("runs", run.id)}><${Id} of=${run.id} /></a>` },
  { name: "Status", of: (run) => html`<${Status} of=${run.status} />` },
  { name: "Agent", of: (run) => visible(agentOf(run.agent_id)) },
  { name: "Task", of: (run) => html`<span class="line" dir="auto">${taskOf(run)}</span>` },
  { name: "Started", isNumber: true, of: (run) => html`<${Time} at=${run.created_at} />` },
  { name: "Took", isNumber: true, of: (run) => lasted(run.started_at, run.completed_at) },
  { name: "Tokens", isNumber: true, of: (run) => count(run.input_tokens + run.output_tokens) },
  { name: "Cost", isNumber: true, of: (run) => money(run.cost_micros) },
];

/** What was typed, once nothing has been for a moment. */
function useSettled(text: string): string {
  const [settled, settle] = useState(text);
  useEffect(() => {
    const timer = setTimeout(settle, 250, text);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}

export function Runs() {
  const [status, setStatus] = useState("");
  const [search, setSearch] = useState("");
  const [offset, setOffset] = useState(0);
  const text = useSettled(search.trim());
  const [isAsking, ask] = useState(false);
  const query = new URLSearchParams({
    limit: String(aPage),
    offset: String(offset),
    ...(status !== "" && { status }),
    ...(text !== "" && { text }),
  });
  const runs = useApi(`/v1/runs?${query.toString()}`);
  const agentOf = useAgentNames();
  const found: Doc[] = runs.data?.runs ?? [];
  const total: number = runs.data?.total ?? 0;
  const last = Math.min(offset + aPage, total);
  // Another filter is another list, which is read from its start.
  const filter = (set: (value: string) => void) => (event: Event) => {
    set((event.target as HTMLInputElement | HTMLSelectElement).value);
    setOffset(0);
  };
  return html`<${Heading} title="Runs">
      <button type="button" aria-expanded=${isAsking} onClick=${() => ask(!isAsking)}>
        New run
      </button>
    <//>
    ${isAsking && html`<${NewRun} />`}
    <div class="filters" role="search">
      <label
        >Search
        <input
          type="search"
          value=${search}
          placeholder="id or text of the input"
          onInput=${filter(setSearch)}
      /></label>
      <label
        >Status
        <select value=${status} onChange=${filter(setStatus)}>
          <option value="">any</option>
          ${statuses.map((each) => html`<option key=${each} value=${each}>${each.replaceAll("_", " ")}</option>`)}
        </select>
      </label>
      <span class="quiet" role="status"
        >${runs.data !== null && total > 0 && `${count(offset + 1)} to ${count(last)} of ${count(total)}`}</span
      >
    </div>
    <${Waiting} of=${runs} />
    ${found.length > 0 && html`<${Table} label="Runs" rows=${found} columns=${runColumns(agentOf)} id=${(run: Doc) => run.id} />`}
    ${runs.data !== null && found.length === 0 && html`<${Nothing} isFiltered=${status !== "" || search !== ""} />`}
    ${
      total > aPage &&
      html`<div class="actions">
        <button
          type="button"
          disabled=${offset === 0}
          onClick=${() => setOffset(Math.max(0, offset - aPage))}
        >
          Newer
        </button>
        <button type="button" disabled=${last >= total} onClick=${() => setOffset(offset + aPage)}>
          Older
        </button>
      </div>`
    }`;
}

const Nothing = ({ isFiltered }: { isFiltered: boolean }) =>
  isFiltered
    ? html`<p class="empty">No run fits. Clear the search, or choose another status.</p>`
    : html`<p class="empty">
        There are no runs yet. Start one with <b>New run</b>, or on the command line:
        <code>stateplane submit AGENT --task "Say hello" --watch</code>
      </p>`;

/** Starts a run of an agent: by a task, or by steps as JSON. */
function NewRun() {
  const agents = useApi("/v1/registry/agents?limit=100", 0);
  const [failure, setFailure] = useState<ApiFailure | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const said = (name: string) => String(form.get(name) ?? "").trim();
    try {
      const planned = said("steps");
      const body = JSON.stringify({ agent_id: said("agent"), input: { task: said("task") } });
      // As it was typed: read here, a number too long for JavaScript would be another one.
      const whole = planned === "" ? body : `${body.slice(0, -1)},"steps":${planned}}`;
      const run = await call("POST", "/v1/runs", whole);
      location.hash = to("runs", run.id);
    } catch (error) {
      setFailure(error as ApiFailure);
    }
  };
  return html`<form class="panel" aria-label="New run" onSubmit=${submit}>
    <label
      >Agent
      <select name="agent" required>
        ${(agents.data ?? []).map(({ slug }: Doc) => html`<option key=${slug} value=${slug}>${visible(slug)}</option>`)}
      </select>
    </label>
    <label>Task <textarea name="task" rows="3" required></textarea></label>
    <details>
      <summary>Steps of its own</summary>
      <label
        >Steps, as JSON
        <textarea
          name="steps"
          rows="5"
          class="code"
          spellcheck=${false}
          placeholder='[{"type": "tool", "input": {"tool_name": "…", "tool_input": {}}}]'
        ></textarea>
      </label>
      <p class="quiet">Without any, the run is one step that its agent's model works on.</p>
    </details>
    <${Trouble} failure=${failure} />
    <div class="actions"><button class="main">Start run</button></div>
  </form>`;
}
