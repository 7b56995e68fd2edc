import { useState } from "preact/hooks";
import { html } from "./html.ts";
import { start, visible } from "./parts.ts";

const shortest = 120;
const atOnce = 100;

/** A value as a tree: what is in an object is drawn when it is opened. */
export function Tree({
  name,
  value,
  isOpen = false,
}: {
  name: string;
  value: unknown;
  isOpen?: boolean;
}) {
  const [opened, setOpen] = useState(isOpen);
  const [shown, setShown] = useState(atOnce);
  if (typeof value !== "object" || value === null)
    return html`<div class="leaf">
      <span class="key">${visible(name)}</span> <${Plain} of=${value} />
    </div>`;
  const entries = Object.entries(value);
  const about = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  if (entries.length === 0)
    return html`<div class="leaf">
      <span class="key">${visible(name)}</span>
      <span class="quiet">${Array.isArray(value) ? "[]" : "{}"}</span>
    </div>`;
  return html`<details
    class="branch"
    open=${opened}
    onToggle=${(event: Event) => setOpen((event.currentTarget as HTMLDetailsElement).open)}
  >
    <summary><span class="key">${visible(name)}</span> <span class="quiet">${about}</span></summary>
    ${opened && entries.slice(0, shown).map(([key, item]) => html`<${Tree} key=${key} name=${key} value=${item} />`)}
    ${opened && entries.length > shown && html`<button type="button" onClick=${() => setShown(shown + 10 * atOnce)}>${entries.length - shown} more</button>`}
  </details>`;
}

function Plain({ of }: { of: unknown }) {
  const [isWhole, show] = useState(false);
  if (typeof of !== "string") return html`<span class="plain">${String(of)}</span>`;
  if (of.length <= shortest || isWhole) return html`<span class="said">${visible(of)}</span>`;
  return html`<span class="said">${visible(start(of, shortest))}…</span>
    <button type="button" class="plain" onClick=${() => show(true)}>
      all ${of.length} characters
    </button>`;
}
