import { useMemo } from "preact/hooks";
import { type Doc, useApi } from "./api.ts";
import { Drawing } from "./drawing.ts";
import { html } from "./html.ts";
import { workflowBoxes } from "./workflow-boxes.ts";
import { Facts, Heading, Status, Table, Time, to, Value, visible, Waiting } from "./parts.ts";
import { runColumns, useAgentNames } from "./runs.ts";

export function Workflows() {
  const all = useApi("/v1/workflows?limit=100", 15_000);
  const rows: Doc[] = all.data?.workflows ?? [];
  return html`<${Heading} title="Workflows" />
    <${Waiting} of=${all} />
    ${
      rows.length > 0 &&
      html`<${Table}
        label="Workflows"
        rows=${rows}
        id=${(row: Doc) => row.id}
        columns=${[
          {
            name: "Workflow",
            of: (row: Doc) =>
              html`<a href=${to("workflows", row.id)} dir="auto">${visible(row.name)}</a>`,
          },
          { name: "Version", of: (row: Doc) => visible(row.version) },
          { name: "Steps", isNumber: true, of: (row: Doc) => row.definition?.steps?.length ?? "" },
          {
            name: "About",
            of: (row: Doc) =>
              html`<span class="line" dir="auto">${visible(row.description ?? "")}</span>`,
          },
          {
            name: "Registered",
            isNumber: true,
            of: (row: Doc) => html`<${Time} at=${row.created_at} />`,
          },
        ]}
      />`
    }
    ${
      all.data !== null &&
      rows.length === 0 &&
      html`<p class="empty">
        There are no workflows yet. Run one, and it is registered:
        <code>stateplane workflow run FILE</code>
      </p>`
    }`;
}

export function Workflow({ id }: { id: string }) {
  const path = `/v1/workflows/${encodeURIComponent(id)}`;
  const workflow = useApi(path, 0);
  const runs = useApi(`${path}/runs?limit=50`);
  const agentOf = useAgentNames();
  const { data } = workflow;
  const boxes = useMemo(
    () => (data === null ? null : workflowBoxes(data.definition, () => null)),
    [data],
  );
  const rows: Doc[] = runs.data?.runs ?? [];
  return html`<${Heading} title=${data === null ? `Workflow ${id}` : visible(data.name)}>
      ${data !== null && html`<${Status} of=${data.status} />`}
    <//>
    <${Waiting} of=${workflow} />
    ${
      data !== null &&
      html`<p dir="auto">${visible(data.description ?? "")}</p>
        <${Facts}
          of=${[
            ["Id", html`<code>${data.id}</code>`],
            ["Version", visible(data.version)],
            ["On error", data.on_error],
            ["Turns of a loop", `at most ${data.max_iterations}`],
          ]}
        />`
    }
    ${boxes !== null && html`<${Drawing} of=${boxes} label="The workflow's steps" />`}
    <h2>Runs</h2>
    ${
      rows.length > 0
        ? html`<${Table}
            label="Runs"
            rows=${rows}
            id=${(run: Doc) => run.id}
            columns=${runColumns(agentOf)}
          />`
        : html`<p class="empty">It has not run yet.</p>`
    }
    ${
      data !== null &&
      html`<details>
        <summary>Definition</summary>
        <${Value} value=${data.definition} />
      </details>`
    }`;
}
