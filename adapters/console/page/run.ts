import { useState } from "preact/hooks";
import { ApiFailure, call, type Doc, useApi } from "./api.ts";
import { Drawing } from "./drawing.ts";
import { html } from "./html.ts";
import { workflowBoxes } from "./workflow-boxes.ts";
import {
  count,
  Facts,
  Heading,
  Id,
  lasted,
  money,
  Status,
  stepWord,
  Table,
  Time,
  to,
  toneOf,
  Trouble,
  Value,
  visible,
  Waiting,
} from "./parts.ts";
import { endedStatuses, taskOf, useAgentNames } from "./runs.ts";
import { useMemo } from "preact/hooks";

const ended = new Set(endedStatuses);

export function Run({ id }: { id: string }) {
  const path = `/v1/runs/${encodeURIComponent(id)}`;
  const run = useApi(path);
  const isOver = run.data !== null && ended.has(run.data.status);
  const steps = useApi(`${path}/steps`, isOver ? 0 : 2_000);
  const audit = useApi(`${path}/audit?limit=1000`);
  const agentOf = useAgentNames();
  const { data } = run;
  return html`<${Heading} title=${`Run ${id}`}
      >${data !== null && html`<${Status} of=${data.status} />`}
      ${data !== null && !isOver && html`<${Cancel} path=${path} onDone=${run.reload} />`}
    <//>
    <${Waiting} of=${run} />
    ${
      data !== null &&
      html`<p class="task" dir="auto">${taskOf(data)}</p>
        <${Facts}
          of=${[
            ["Agent", visible(agentOf(data.agent_id))],
            ["Created", html`<${Time} at=${data.created_at} />`],
            ["Took", lasted(data.started_at, data.completed_at)],
            ["Tokens in", count(data.input_tokens)],
            ["Tokens out", count(data.output_tokens)],
            ["Tool calls", count(data.tool_calls)],
            ["Cost", money(data.cost_micros)],
            ["Reason", data.status_reason === null ? "" : visible(data.status_reason)],
          ]}
        />`
    }
    ${id.startsWith("wfr_") && html`<${OfWorkflow} id=${id} jobs=${steps.data ?? []} />`}
    <h2>Steps</h2>
    <${Waiting} of=${steps} />
    ${steps.data?.length === 0 && html`<p class="empty">It has no steps yet.</p>`}
    ${
      steps.data !== null &&
      steps.data.length > 0 &&
      html`<${Table}
        label="Steps"
        rows=${steps.data}
        id=${(step: Doc) => step.id}
        columns=${stepColumns(id)}
      />`
    }
    ${
      data !== null &&
      data.error !== null &&
      html`<h2>Error</h2>
        <${Value} value=${data.error} />`
    }
    ${
      data !== null &&
      data.output !== null &&
      html`<h2>Output</h2>
        <${Value} value=${data.output} />`
    }
    <h2>What happened</h2>
    <${History} entries=${audit.data ?? []} />`;
}

const stepColumns = (runId: string) => [
  { name: "#", isNumber: true, of: (step: Doc) => step.step_number },
  {
    name: "Step",
    of: (step: Doc) =>
      html`<a href=${to("runs", runId, "steps", step.id)} dir="auto"
        >${visible(step.name ?? step.id)}</a
      >`,
  },
  { name: "Type", of: (step: Doc) => step.step_type },
  { name: "Status", of: (step: Doc) => html`<${Status} of=${stepWord(step)} />` },
  {
    name: "Tool or model",
    of: (step: Doc) => visible(step.tool_name ?? step.input?.tool_name ?? step.model ?? ""),
  },
  { name: "Took", isNumber: true, of: (step: Doc) => lasted(step.started_at, step.completed_at) },
  {
    name: "Tokens",
    isNumber: true,
    of: ({ input_tokens: read, output_tokens: wrote }: Doc) =>
      read === null && wrote === null ? "" : count((read ?? 0) + (wrote ?? 0)),
  },
  { name: "Cost", isNumber: true, of: (step: Doc) => money(step.cost_micros) },
];

function Cancel({ path, onDone }: { path: string; onDone: () => void }) {
  const [failure, setFailure] = useState<ApiFailure | null>(null);
  const cancel = () => call("POST", `${path}/cancel`).then(onDone, setFailure);
  return html`<button type="button" onClick=${cancel}>Cancel run</button
    ><${Trouble} failure=${failure} />`;
}

/** The graph of the workflow, with what has become of each of its steps in this run. */
function OfWorkflow({ id, jobs }: { id: string; jobs: Doc[] }) {
  const path = encodeURIComponent(id);
  const run = useApi(`/v1/workflow-runs/${path}`);
  const executions = useApi(`/v1/workflow-runs/${path}/executions`);
  const workflow = useApi(
    run.data === null ? null : `/v1/workflows/${encodeURIComponent(run.data.workflow_id)}`,
    0,
  );
  const boxes = useMemo(() => {
    if (workflow.data === null) return null;
    const steps = new Map<string, string>();
    // A loop's or list's turns stand side by side: the newest tells.
    for (const { name, status } of run.data?.steps ?? []) steps.set(plainPath(name), status);
    const links = new Map<string, string>(
      (executions.data?.executions ?? [])
        .filter(({ job_id: job }: Doc) => jobs.some((step) => step.id === job))
        .map(({ step_id: name, job_id: job }: Doc) => [plainPath(name), job]),
    );
    return workflowBoxes(
      workflow.data.definition,
      (step) => steps.get(step) ?? null,
      (step) => {
        const job = links.get(step);
        return job === undefined ? null : to("runs", id, "steps", job);
      },
    );
  }, [
    workflow.data,
    JSON.stringify(run.data?.steps),
    JSON.stringify(executions.data),
    jobs.length,
  ]);
  return html`<h2>Workflow</h2>
    <${Waiting} of=${run} />
    ${boxes !== null && html`<${Drawing} of=${boxes} label="The workflow's steps, and what has become of them" />`}`;
}

/** Of a step's path, without which turn of a loop or item of a list it was. */
const plainPath = (path: string): string => path.replaceAll(/(?:#\d+)?(?:\[\d+\])?(?=\/|$)/g, "");

const subjects = ["tool_name", "reason", "note", "step_type", "action_type"];

/** The audit's entries, in order: who did what, and each verdict with its reason. */
export function History({ entries }: { entries: readonly Doc[] }) {
  if (entries.length === 0) return html`<p class="quiet">Nothing yet.</p>`;
  return html`<ol class="history">
    ${entries.map(({ seq, event, created_at: at, details, by }: Doc) => {
      const said = subjects.flatMap((name) =>
        typeof details[name] === "string" ? [details[name]] : [],
      );
      const kind = event.startsWith("policy.")
        ? verdictTones[event]
        : toneOf(event.split(".")[1] ?? "");
      return html`<li key=${seq}>
        <${Time} at=${at} />
        <span class=${`status ${kind}`}>${event}</span>
        <span dir="auto"
          >${visible(said.join(" · "))}${details["step_id"] && html` <${Id} of=${details["step_id"]} />`}</span
        >
        <span class="quiet by"
          >${by === null || by === "system" ? "" : html`<${Id} of=${by} />`}</span
        >
      </li>`;
    })}
  </ol>`;
}

const verdictTones: Readonly<Record<string, string>> = {
  "policy.allowed": "good",
  "policy.denied": "bad",
  "policy.approval_required": "wait",
};
