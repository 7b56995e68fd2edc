import { type Doc, useApi } from "./api.ts";
import { html } from "./html.ts";
import { count, Heading, Status, Table, Time, Value, visible, Waiting } from "./parts.ts";

const slowly = 15_000;

export function Agents() {
  const agents = useApi("/v1/registry/agents?limit=100", slowly);
  const rows: Doc[] = agents.data ?? [];
  return html`<${Heading} title="Agents" />
    <${Waiting} of=${agents} />
    ${rows.map(
      ({ id, slug, name, description, status, latest_version: version }: Doc) =>
        html`<article key=${id} class="panel">
          <h2>${visible(slug)} <${Status} of=${status} /></h2>
          <p dir="auto">${visible(description ?? (name === slug ? "" : name))}</p>
          ${
            version !== null &&
            html`<${Lists}
                of=${[
                  ["Version", version.version],
                  ["Model", version.model ?? "the caller's choice"],
                  ["Allowed", version.allowed_tools],
                  ["Asks a person", version.approval_required_tools],
                  ["Denied", version.denied_tools],
                ]}
              />
              ${
                version.budget &&
                Object.keys(version.budget).length > 0 &&
                html`<details>
                  <summary>Budget</summary>
                  <${Value} value=${version.budget} />
                </details>`
              }
              ${
                version.system_prompt &&
                html`<details>
                  <summary>System prompt</summary>
                  <${Value} value=${version.system_prompt} />
                </details>`
              }`
          }
        </article>`,
    )}
    ${agents.data !== null && rows.length === 0 && html`<p class="empty">There are no agents yet. Name some in <code>stateplane.config</code>, under <code>agents</code>.</p>`}`;
}

/** Facts, of which some are lists of names. */
const Lists = ({ of }: { of: readonly (readonly [string, string | string[]])[] }) =>
  html`<dl class="lists">
    ${of.map(
      ([name, said]) =>
        html`<div key=${name}>
          <dt>${name}</dt>
          <dd>
            ${
              typeof said === "string"
                ? visible(said)
                : said.length === 0
                  ? html`<span class="quiet">none</span>`
                  : said.map((one) => html`<code key=${one} class="chip">${visible(one)}</code> `)
            }
          </dd>
        </div>`,
    )}
  </dl>`;

export function Tools() {
  const tools = useApi("/v1/registry/tools?limit=100", slowly);
  const rows: Doc[] = tools.data ?? [];
  const tones: Record<string, string> = { read: "good", write: "wait", destructive: "bad" };
  return html`<${Heading} title="Tools" />
    <${Waiting} of=${tools} />
    ${
      rows.length > 0 &&
      html`<${Table}
        label="Tools"
        rows=${rows}
        id=${(row: Doc) => row.id}
        columns=${[
          { name: "Tool", of: (row: Doc) => html`<code>${visible(row.slug)}</code>` },
          { name: "Server", of: (row: Doc) => visible(row.mcp_server) },
          {
            name: "Risk",
            of: (row: Doc) =>
              html`<span class=${`status ${tones[row.risk_level] ?? "idle"}`}
                >${row.risk_level}</span
              >`,
          },
          {
            name: "About",
            of: (row: Doc) =>
              html`<span class="line" dir="auto">${visible(row.description ?? "")}</span>`,
          },
          {
            name: "Arguments",
            isNumber: true,
            of: (row: Doc) => count(Object.keys(row.input_schema?.properties ?? {}).length),
          },
          {
            name: "Registered",
            isNumber: true,
            of: (row: Doc) => html`<${Time} at=${row.created_at} />`,
          },
        ]}
      />`
    }
    ${tools.data !== null && rows.length === 0 && html`<p class="empty">No tool is registered. Tools work without it; once some are, calls of others ask a person. See what there is: <code>stateplane tools list</code></p>`}`;
}

export function Policies() {
  const policies = useApi("/v1/policies?limit=1000", slowly);
  const rows = ((policies.data ?? []) as Doc[]).toSorted((a, b) => b.priority - a.priority);
  return html`<${Heading} title="Policies" />
    <${Waiting} of=${policies} />
    ${rows.map(
      ({
        id,
        name,
        description,
        priority,
        effect,
        enabled,
        conditions,
        approval,
        updated_at: at,
      }: Doc) =>
        html`<article key=${id} class="panel">
          <h2 dir="auto">
            ${visible(name)}
            <${Status} of=${effect} /> ${!enabled && html`<span class="status idle">off</span>`}
          </h2>
          <p dir="auto">${visible(description ?? "")}</p>
          <${Lists}
            of=${[
              ["Priority", String(priority)],
              ["Changed", at],
              ...(approval === null ? [] : ([["Approval", JSON.stringify(approval)]] as const)),
            ]}
          />
          <details>
            <summary>Conditions</summary>
            <${Value} value=${conditions} />
          </details>
        </article>`,
    )}
    ${policies.data !== null && rows.length === 0 && html`<p class="empty">There are no policies: the agents' own lists decide. To see why a call would be allowed: <code>stateplane policy explain</code></p>`}`;
}
