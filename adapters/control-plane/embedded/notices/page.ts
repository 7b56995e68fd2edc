import { createHash } from "node:crypto";

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 44rem; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.25rem; }
h2 { font-size: 1rem; margin: 1rem 0 .25rem; }
pre { margin: 0 0 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem .75rem; margin: 1rem 0; }
dt { opacity: .7; }
dd { margin: 0; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8884; border-radius: .5rem; white-space: pre-wrap; font-size: .85rem; }
.added { background: #2da44e33; }
.removed { background: #cf222e33; }
textarea { box-sizing: border-box; width: 100%; min-height: 4rem; font: inherit; padding: .5rem; }
.choices { display: flex; gap: .75rem; margin: 1rem 0; }
button { flex: 1; min-height: 3rem; font: inherit; font-weight: 600; border-radius: .5rem; border: 1px solid #8888; color: #fff; }
#approve { background: #1a7f37; }
#reject { background: #b3202b; }
button:disabled { opacity: .5; }
button:focus-visible, textarea:focus-visible { outline: 3px solid #0969da; outline-offset: 2px; }
`;

/** Everything that comes from outside is put in as text, never as markup. */
const script = `
const token = location.hash.slice(1);
const main = document.querySelector("main");
const make = (name, text, more) => Object.assign(document.createElement(name), { textContent: text }, more);
const say = (text) => main.replaceChildren(make("h1", text, { role: "status" }));
const call = async (path, body) => {
  const response = await fetch(location.pathname.replace(/\\/$/, "") + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token, ...body }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
};
const shown = (text, isDiff) => {
  const box = make("pre", "");
  for (const line of text.split("\\n")) {
    const kind = !isDiff ? "" : /^[+](?![+][+] )/.test(line) ? "added" : /^-(?!-- )/.test(line) ? "removed" : "";
    box.append(make("div", line === "" ? " " : line, { className: kind }));
  }
  return box;
};
const outcome = ({ status, resolved_by, resolution_note }) => {
  say("This is " + status + (resolved_by === null ? "" : " by " + resolved_by) + ".");
  if (resolution_note) main.append(make("p", resolution_note));
};
const ask = (question) => {
  document.title = question.action;
  const facts = document.createElement("dl");
  const fact = (name, value) => value && facts.append(make("dt", name), make("dd", value));
  fact("Why", question.reason);
  fact("Agent", question.agent);
  fact("Run", question.run_id);
  fact("Answer before", new Date(question.expires_at).toLocaleString());
  fact("Role", question.role);
  const note = make("textarea", "", { id: "note", maxLength: 4096 });
  const problem = make("p", "", { role: "alert" });
  const choices = make("div", "", { className: "choices" });
  const choose = (id, text, approved) => {
    const button = make("button", text, { id });
    button.addEventListener("click", async () => {
      for (const each of choices.children) each.disabled = true;
      try {
        outcome(await call("", { approved, note: note.value === "" ? null : note.value }));
      } catch (error) {
        problem.textContent = error.message;
        for (const each of choices.children) each.disabled = false;
      }
    });
    choices.append(button);
  };
  if (question.is_whole) choose("approve", "Approve", true);
  choose("reject", "Reject", false);
  main.replaceChildren(
    make("h1", "May this be done: " + question.action + "?"),
    facts,
    ...question.parts.flatMap(({ name, text, is_diff }) => [make("h2", name), shown(text, is_diff)]),
    ...(question.is_whole ? [] : [make("p", "Some of it is hidden or cut here, so this page takes no yes. It can be approved with: stateplane approvals approve " + question.approval_id)]),
    make("label", "Note, kept with the answer", { htmlFor: "note" }),
    note,
    problem,
    choices,
  );
};
if (token === "") say("This link is not whole: open it as it was sent.");
else call("/look", {}).then((question) => (question.status === "pending" ? ask(question) : outcome(question)), (error) => say(error.message));
`;

/** The page of a link, the same for every one: what it shows, its script asks for with the token. */
export const linkPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Approval</title>
<style>${style}</style>
</head>
<body>
<main><h1>Loading…</h1><noscript>This page needs JavaScript.</noscript></main>
<script>${script}</script>
</body>
</html>
`;

const sourceOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** Nothing but its own style and script, nobody's frame, and nobody learns where it was left for. */
export const linkPageHeaders: Readonly<Record<string, string>> = {
  "content-security-policy": [
    "default-src 'none'",
    `style-src ${sourceOf(style)}`,
    `script-src ${sourceOf(script)}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};
