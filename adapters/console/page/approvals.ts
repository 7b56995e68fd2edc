import { useRef, useState } from "preact/hooks";
import { ApiFailure, call, type Doc, useApi } from "./api.ts";
import { changesIn, Changes, changesShown } from "./changes.ts";
import { html } from "./html.ts";
import {
  Facts,
  Heading,
  Id,
  start,
  Status,
  Time,
  to,
  Trouble,
  Value,
  visible,
  Waiting,
} from "./parts.ts";

/** The oldest; the others come as these are answered. */
const questionsShown = 50;

/** What people are asked. A question that was answered here stays until the page is left, with its answer. */
export function Approvals() {
  const open = useApi(`/v1/approvals?limit=${questionsShown}`);
  const [answered, setAnswered] = useState<Doc[]>([]);
  const rows = ((open.data ?? []) as Doc[]).filter(({ id }) =>
    answered.every((one) => one.id !== id),
  );
  return html`<${Heading} title="Approvals" />
    <${Waiting} of=${open} />
    <div role="status" class="answers">
      ${answered.map(
        (one) =>
          html`<p key=${one.id}>
            <${Status} of=${one.status} /> ${titleOf(one)} of
            <a href=${to("runs", one.run_id)}>run <${Id} of=${one.run_id} /></a>
          </p>`,
      )}
    </div>
    ${rows.map((row) => html`<${Question} key=${row.id} of=${row} onAnswer=${(one: Doc) => setAnswered((known) => [...known, one])} onGone=${open.reload} />`)}
    ${
      open.data !== null &&
      rows.length === 0 &&
      html`<p class="empty">
        Nothing waits for a person. A tool asks when its agent lists it under
        <code>approvalRequired</code>, or when a policy says so:
        <code>stateplane policy</code>
      </p>`
    }`;
}

const titleOf = (one: Doc): string => {
  const { action_type: kind, action_details: details } = one;
  return visible(`${kind} ${typeof details?.name === "string" ? details.name : ""}`.trim());
};

function Question({
  of,
  onAnswer,
  onGone,
}: {
  of: Doc;
  onAnswer: (one: Doc) => void;
  onGone: () => void;
}) {
  const note = useRef<HTMLTextAreaElement>(null);
  const [failure, setFailure] = useState<ApiFailure | null>(null);
  const [isBusy, setBusy] = useState(false);
  const { id, run_id: runId, step_id: stepId, action_details: details } = of;
  const changes = changesIn(details?.input);
  const answer = async (approved: boolean) => {
    setBusy(true);
    const text = note.current?.value.trim() ?? "";
    try {
      const body = { approved, ...(text !== "" && { note: text }) };
      onAnswer(await call("PUT", `/v1/approvals/${encodeURIComponent(id)}`, body));
      // The card with the focus is gone: what comes next is read from the top.
      document.querySelector<HTMLElement>("h1")?.focus();
    } catch (error) {
      setFailure(error as ApiFailure);
      setBusy(false);
      if (error instanceof ApiFailure && [400, 404, 409].includes(error.status)) onGone();
    }
  };
  return html`<article class="panel question" aria-labelledby=${`title-${id}`}>
    <h2 id=${`title-${id}`}>${titleOf(of)}</h2>
    <p class="reason" dir="auto">${visible(of.reason)}</p>
    <${Facts}
      of=${[
        ["Server", visible(details?.server ?? "")],
        ["Run", html`<a href=${to("runs", runId)}><${Id} of=${runId} /></a>`],
        ["Step", html`<a href=${to("runs", runId, "steps", stepId)}><${Id} of=${stepId} /></a>`],
        ["Asked", html`<${Time} at=${of.created_at} />`],
        ["Expires", html`<${Time} at=${of.expires_at} />`],
        [
          "Asked by",
          of.asked_by === null
            ? ""
            : html`${visible(of.asked_by_name ?? "")} <${Id} of=${of.asked_by} />`,
        ],
        ["Answered by", of.role === null ? "" : `the role ${visible(of.role)}`],
        ["Four eyes", of.four_eyes ? "another key than asked or started the run" : ""],
        ["Digest", html`<code title=${of.digest}>${start(visible(of.digest), 12)}…</code>`],
      ]}
    />
    ${changes.slice(0, changesShown).map((change, at) => html`<${Changes} key=${at} of=${change} />`)}
    ${
      changes.length > changesShown &&
      html`<p class="cut">
        Only the first ${changesShown} of ${changes.length} changes are shown as such; all of them
        stand below.
      </p>`
    }
    ${
      // A change may be the least of what a call does: all of it is on the page.
      changes.length > 0
        ? html`<details open>
            <summary>All that is asked, as it stands</summary>
            <${Value} value=${details} />
          </details>`
        : html`<${Value} value=${details?.input ?? details} />`
    }
    <label class="note"
      >Note, kept with the answer <textarea ref=${note} rows="2" maxlength="4096"></textarea>
    </label>
    <${Trouble} failure=${failure} />
    <div class="actions">
      <button type="button" class="main" disabled=${isBusy} onClick=${() => answer(true)}>
        Approve
      </button>
      <button type="button" class="danger" disabled=${isBusy} onClick=${() => answer(false)}>
        Reject
      </button>
    </div>
  </article>`;
}
