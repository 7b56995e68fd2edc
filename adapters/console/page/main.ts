import { render } from "preact";
import { useEffect, useErrorBoundary, useState } from "preact/hooks";
import { keyOf, keepKey, listenToChanges, onKey, useApi } from "./api.ts";
import { Approvals } from "./approvals.ts";
import { DeadLetters } from "./dead-letters.ts";
import { Eval, Evals } from "./evals.ts";
import { html } from "./html.ts";
import { Agents, Policies, Tools } from "./registry.ts";
import { Run } from "./run.ts";
import { Runs } from "./runs.ts";
import { SignIn } from "./sign-in.ts";
import { Step } from "./step.ts";
import { Workflow, Workflows } from "./workflows.ts";
import { Heading, visible } from "./parts.ts";

const places = [
  ["runs", "Runs"],
  ["approvals", "Approvals"],
  ["workflows", "Workflows"],
  ["dead-letters", "Dead letters"],
  ["agents", "Agents"],
  ["tools", "Tools"],
  ["policies", "Policies"],
  ["evals", "Evals"],
] as const;

/** The parts of the address after `#/`. It never holds a key. */
function placeOf(hash: string): string[] {
  try {
    return hash.replace(/^#\//, "").split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

/** What a page can't show is said, and the other pages go on. */
function Page({ place }: { place: readonly string[] }) {
  const [error] = useErrorBoundary();
  if (error !== undefined) {
    return html`<${Heading} title="This page can't be shown" />
      <p class="trouble" role="alert">
        ${visible(String(error))}. Reload it; if it stays so, please report it.
      </p>`;
  }
  const [kind = "", id = "", inner = "", innerId = ""] = place;
  if (kind === "runs" && inner === "steps") {
    return html`<${Step} key=${innerId} runId=${id} stepId=${innerId} />`;
  }
  if (kind === "runs" && id !== "") return html`<${Run} key=${id} id=${id} />`;
  if (kind === "runs" || kind === "") return html`<${Runs} />`;
  if (kind === "approvals") return html`<${Approvals} />`;
  if (kind === "workflows" && id !== "") return html`<${Workflow} key=${id} id=${id} />`;
  if (kind === "workflows") return html`<${Workflows} />`;
  if (kind === "dead-letters") return html`<${DeadLetters} />`;
  if (kind === "agents") return html`<${Agents} />`;
  if (kind === "tools") return html`<${Tools} />`;
  if (kind === "policies") return html`<${Policies} />`;
  if (kind === "evals" && id !== "") return html`<${Eval} key=${id} id=${id} />`;
  if (kind === "evals") return html`<${Evals} />`;
  return html`<${Heading} title="Nothing here" />
    <p>There is no such page. <a href="#/runs">See the runs</a>.</p>`;
}

function Shell({ place }: { place: readonly string[] }) {
  const [isLive, setLive] = useState(false);
  const asked = useApi("/v1/approvals/count", 10_000);
  const open = asked.data?.pending ?? 0;
  useEffect(() => listenToChanges(setLive), []);
  return html`<a class="skip" href="#content" onClick=${skip}>Skip to the content</a>
    <header>
      <a class="brand" href="#/runs">Stateplane</a>
      <nav aria-label="Pages">
        ${places.map(([id, name]) => {
          const isHere = (place[0] || "runs") === id;
          return html`<a key=${id} href=${`#/${id}`} aria-current=${isHere ? "page" : undefined}>
            ${name}${id === "approvals" && open > 0 && html` <span class="badge">${open}</span>`}
          </a>`;
        })}
      </nav>
      <div class="right">
        <span
          class=${`status ${isLive ? "good" : "idle"}`}
          role="status"
          title="Whether changes are heard of as they happen"
        >
          ${isLive ? "live" : "polling"}
        </span>
        <button type="button" class="plain" onClick=${() => keepKey(null)}>Sign out</button>
      </div>
    </header>
    <main id="content" tabindex="-1"><${Page} key=${place.join("/")} place=${place} /></main>`;
}

/** The address is the page's own: a link within it must not change that. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

function App() {
  const [place, setPlace] = useState(placeOf(location.hash));
  const [key, setKey] = useState(keyOf());
  useEffect(() => {
    onKey(() => setKey(keyOf()));
    const go = () => {
      setPlace(placeOf(location.hash));
      window.scrollTo(0, 0);
      // The link that was followed may be gone: the new page's heading takes the focus.
      if (
        document.activeElement instanceof HTMLElement &&
        !document.activeElement.closest("header")
      )
        document.activeElement.blur();
    };
    addEventListener("hashchange", go);
    return () => removeEventListener("hashchange", go);
  }, []);
  return key === null ? html`<${SignIn} />` : html`<${Shell} place=${place} />`;
}

const root = document.getElementById("page");
if (root !== null) render(html`<${App} />`, root);
