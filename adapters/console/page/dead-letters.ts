import { useState } from "preact/hooks";
import { ApiFailure, call, type Doc, useApi } from "./api.ts";
import { html } from "./html.ts";
import { Facts, Heading, Time, to, Trouble, Value, visible, Waiting } from "./parts.ts";

/** Jobs that no retry by itself will mend, with their first cause. */
export function DeadLetters() {
  const letters = useApi("/v1/dead-letters?limit=100");
  const rows: Doc[] = letters.data ?? [];
  if (letters.failure?.status === 404) {
    return html`<${Heading} title="Dead letters" />
      <p class="empty">
        This control plane does not serve them. On the command line:
        <code>stateplane dlq list</code>
      </p>`;
  }
  return html`<${Heading} title="Dead letters" />
    <${Waiting} of=${letters} />
    ${rows.map((row) => html`<${Letter} key=${row.id} of=${row} onDone=${letters.reload} />`)}
    ${letters.data !== null && rows.length === 0 && html`<p class="empty">There are none. A job that fails for good, or is delivered too often, is kept here with its first cause.</p>`}`;
}

function Letter({ of, onDone }: { of: Doc; onDone: () => void }) {
  const [failure, setFailure] = useState<ApiFailure | null>(null);
  const [isBusy, setBusy] = useState(false);
  const retry = () => {
    setBusy(true);
    call("POST", `/v1/dead-letters/${encodeURIComponent(of.id)}/retry`)
      .then(onDone, setFailure)
      .finally(() => setBusy(false));
  };
  const { run_id: runId, step_id: stepId } = of;
  return html`<article class="panel">
    <h2><code>${visible(of.id)}</code></h2>
    <p class="reason" dir="auto">${visible(String(of.reason ?? ""))}</p>
    <${Facts}
      of=${[
        [
          "Run",
          typeof runId === "string" && html`<a href=${to("runs", runId)}>${visible(runId)}</a>`,
        ],
        [
          "Step",
          typeof runId === "string" &&
            typeof stepId === "string" &&
            html`<a href=${to("runs", runId, "steps", stepId)}>${visible(stepId)}</a>`,
        ],
        ["Since", html`<${Time} at=${of.dead_since} />`],
        ["Deliveries", of.deliveries ?? ""],
        ["States", ((of.state_history ?? []) as string[]).join(" ▸ ")],
        ["Last trouble", visible(of.last_trouble ?? "")],
      ]}
    />
    <details>
      <summary>All that is kept</summary>
      <${Value} value=${of} />
    </details>
    <${Trouble} failure=${failure} />
    <div class="actions">
      <button type="button" disabled=${isBusy} onClick=${retry}>Retry</button>
    </div>
  </article>`;
}
