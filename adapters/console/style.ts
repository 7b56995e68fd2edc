/** The console's style sheet: the system's own fonts, one accent, light and dark by the reader's choice. */
export const style = /* css */ `
:root {
  color-scheme: light dark;
  --ground: #fbfbfc; --panel: #ffffff; --line: #dfe1e6; --strong: #8a8f9c;
  --text: #1b1d22; --quiet: #5b6070; --accent: #2f4fc4; --on-accent: #ffffff; --tint: #eef1fd;
  --good: #1c6b3a; --good-tint: #e6f4ea; --bad: #b3261e; --bad-tint: #fdecea;
  --wait: #875200; --wait-tint: #fdf1dc; --idle: #5b6070; --idle-tint: #eeeff2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14161a; --panel: #1b1e24; --line: #31353e; --strong: #6f7584;
    --text: #e6e8ec; --quiet: #a2a8b6; --accent: #8ea6ff; --on-accent: #10131c; --tint: #232a45;
    --good: #7fd39b; --good-tint: #17301f; --bad: #ff9d94; --bad-tint: #3a1d1b;
    --wait: #f0bd6a; --wait-tint: #35290f; --idle: #a2a8b6; --idle-tint: #272b33;
  }
}
* { box-sizing: border-box; }
html { font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; font-variant-numeric: tabular-nums; }
body { margin: 0; background: var(--ground); color: var(--text); overflow-wrap: anywhere; }
a { color: var(--accent); text-underline-offset: 2px; text-decoration-thickness: 1px; }
a:not(:hover) { text-decoration-color: color-mix(in srgb, currentColor 35%, transparent); }
code, pre, .code { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
h1:focus-visible, main:focus-visible { outline: none; }
.skip { position: absolute; left: -999px; top: 6px; background: var(--panel); padding: 6px 12px; z-index: 2; }
.skip:focus { left: 8px; }

header { display: flex; align-items: center; gap: 4px 20px; padding: 0 20px; border-bottom: 1px solid var(--line); background: var(--panel); position: sticky; top: 0; z-index: 1; }
.brand { font-weight: 650; color: var(--text); text-decoration: none; letter-spacing: -0.01em; }
header nav { display: flex; gap: 2px; flex: 1; min-width: 0; overflow-x: auto; scrollbar-width: none; padding: 0 2px; }
header nav a { padding: 11px 10px 9px; white-space: nowrap; color: var(--quiet); text-decoration: none; border-bottom: 2px solid transparent; }
header nav a:hover { color: var(--text); }
header nav a[aria-current] { color: var(--text); border-bottom-color: var(--accent); font-weight: 550; }
header nav a:focus-visible { outline-offset: -3px; }
.badge { background: var(--wait-tint); color: var(--wait); border-radius: 9px; padding: 0 6px; font-size: 12px; font-weight: 600; }
.right { display: flex; gap: 12px; align-items: center; white-space: nowrap; }

main { max-width: 1180px; margin: 0 auto; padding: 18px 20px 60px; }
.heading { display: flex; align-items: center; gap: 8px 12px; flex-wrap: wrap; margin-bottom: 10px; }
h1 { font-size: 20px; line-height: 1.3; font-weight: 620; letter-spacing: -0.015em; margin: 0; }
.heading > button { margin-left: auto; }
h2 { font-size: 14px; font-weight: 620; margin: 26px 0 8px; }
.task { margin: 0 0 12px; font-size: 15px; max-width: 80ch; }
.quiet { color: var(--quiet); }
.way { margin-bottom: 2px; }
.line { display: block; max-width: 46ch; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }

.facts { display: flex; flex-wrap: wrap; gap: 10px 28px; margin: 0 0 8px; }
.lists { display: grid; gap: 6px; margin: 8px 0; }
.lists div { display: grid; grid-template-columns: 110px 1fr; gap: 12px; align-items: baseline; }
dt { color: var(--quiet); font-size: 12.5px; }
dd { margin: 0; }
.chip { background: var(--idle-tint); border-radius: 4px; padding: 1px 6px; display: inline-block; margin: 1px 0; }

.status { display: inline-flex; align-items: baseline; gap: 6px; color: var(--idle); white-space: nowrap; font-size: 13px; }
.status::before { content: ""; width: 7px; height: 7px; border-radius: 50%; background: currentColor; flex: none; transform: translateY(-0.5px); }
.status.good { color: var(--good); } .status.bad { color: var(--bad); white-space: normal; } .status.wait { color: var(--wait); } .status.live { color: var(--accent); }
h1 ~ .status, h2 .status { font-weight: 500; padding: 1px 9px 1px 8px; border-radius: 10px; background: var(--idle-tint); }
h1 ~ .status.good, h2 .status.good { background: var(--good-tint); } h1 ~ .status.bad, h2 .status.bad { background: var(--bad-tint); }
h1 ~ .status.wait, h2 .status.wait { background: var(--wait-tint); } h1 ~ .status.live, h2 .status.live { background: var(--tint); }
h2 .status { margin-left: 6px; font-size: 12.5px; }

table { width: 100%; border-collapse: collapse; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; border-spacing: 0; }
th { text-align: left; font-weight: 500; color: var(--quiet); font-size: 12.5px; }
th, td { padding: 6px 12px; border-bottom: 1px solid var(--line); vertical-align: baseline; }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover { background: color-mix(in srgb, var(--tint) 50%, transparent); }
.number { text-align: right; white-space: nowrap; }
.id { white-space: nowrap; }

.filters { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; margin-bottom: 12px; }
.filters label { display: flex; gap: 8px; align-items: center; color: var(--quiet); white-space: nowrap; }
.filters [role="status"] { margin-left: auto; }
input, select, textarea, button { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--strong); border-radius: 6px; padding: 4px 9px; max-width: 100%; }
textarea { width: 100%; resize: vertical; display: block; }
textarea.code { font: 12.5px/1.5 ui-monospace, Menlo, Consolas, monospace; }
::placeholder { color: var(--quiet); opacity: 1; }
button { cursor: pointer; padding: 4px 12px; white-space: nowrap; }
button:hover { border-color: var(--accent); }
button.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 550; }
button.danger { color: var(--bad); border-color: var(--bad); }
button.plain { border-color: transparent; background: none; color: var(--quiet); padding: 4px 6px; }
button:disabled { opacity: 0.55; cursor: default; }

.panel { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; margin: 0 0 14px; }
.panel > h2:first-child { margin-top: 0; font-size: 15px; }
.panel label { display: grid; gap: 4px; margin-bottom: 10px; color: var(--quiet); justify-items: start; }
.panel label > * { color: var(--text); }
.panel p { margin: 0 0 10px; }
.actions { display: flex; gap: 10px; }
.trouble { color: var(--bad); background: var(--bad-tint); border-radius: 6px; padding: 7px 12px; margin: 8px 0; }
.empty { border: 1px dashed var(--line); border-radius: 8px; padding: 26px 20px; text-align: center; color: var(--quiet); }
.empty code { color: var(--text); }
details > summary { cursor: pointer; color: var(--quiet); margin: 6px 0; }
.answers p { margin: 0 0 10px; }

pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4; }
.text pre, .diff pre { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; max-height: 420px; overflow: auto; unicode-bidi: plaintext; }
.panel .text pre, .panel .diff pre { background: var(--ground); }
.cut { color: var(--quiet); font-size: 13px; margin: 6px 0 0; }
.text, .diff { margin: 0 0 12px; }
.diff figcaption { color: var(--quiet); margin-bottom: 4px; }
.diff pre { padding: 8px 0; }
.diff span { display: block; padding: 0 12px; }
.added { background: var(--good-tint); color: var(--good); } .removed { background: var(--bad-tint); color: var(--bad); } .place { color: var(--quiet); }

.history { list-style: none; margin: 0; padding: 0; }
.history li { display: grid; grid-template-columns: 76px 190px 1fr auto; gap: 12px; padding: 3px 0; align-items: baseline; }
.history time { color: var(--quiet); }
.walk { list-style: none; display: flex; flex-wrap: wrap; gap: 4px; margin: 0 0 10px; padding: 0; }
.walk li:not(:last-child)::after { content: "▸"; color: var(--quiet); margin: 0 2px 0 6px; }
.walk .now { color: var(--accent); font-weight: 600; }

.drawing { overflow: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--panel); padding: 12px; }
.drawing svg { display: block; margin: 0 auto; height: auto; max-width: max(100%, 640px); }
.drawing text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: var(--quiet); }
.drawing .title { font-size: 13px; fill: var(--text); }
.drawing .note { font-size: 11px; }
.box > rect { fill: var(--panel); stroke: var(--line); stroke-width: 1.25; }
.box.outer > rect { fill: var(--ground); }
.box.passed > rect { fill: var(--tint); stroke: var(--accent); }
.box.live > rect, .box.running > rect, .box.retrying > rect { fill: var(--tint); stroke: var(--accent); stroke-width: 2; }
.box.current > rect { fill: var(--accent); } .box.current > .title { fill: var(--on-accent); font-weight: 600; }
.box.passed > .title, .box.live > .title { font-weight: 600; }
.box.completed > rect { fill: var(--good-tint); stroke: var(--good); } .box.failed > rect { fill: var(--bad-tint); stroke: var(--bad); }
.box.waiting_approval > rect { fill: var(--wait-tint); stroke: var(--wait); } .box.skipped > rect { stroke-dasharray: 4 3; }
.arrow path { fill: none; stroke: var(--strong); stroke-width: 1.1; }
.arrow.lit path { stroke: var(--accent); stroke-width: 2; }
.arrow text { font-size: 10.5px; paint-order: stroke; stroke: var(--panel); stroke-width: 4px; stroke-linejoin: round; }
.arrow.lit text { fill: var(--accent); }
marker.plain path { fill: var(--strong); } marker.lit path { fill: var(--accent); }

.sign-in { max-width: 420px; padding-top: 12vh; }
.sign-in form { display: grid; gap: 8px; margin-top: 12px; }
.sign-in input { padding: 7px 10px; }
.sign-in button { justify-self: start; padding: 6px 16px; }

@media (max-width: 760px) {
  header { flex-wrap: wrap; padding: 8px 14px 0; }
  header nav { order: 3; flex-basis: 100%; margin: 0 -14px; padding: 0 10px; }
  .right { margin-left: auto; }
  main { padding: 14px 14px 48px; }
  .facts { gap: 8px 20px; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, td { display: block; }
  tbody tr { padding: 8px 12px; border-bottom: 1px solid var(--line); }
  tbody tr:last-child { border-bottom: 0; }
  td { display: grid; grid-template-columns: 92px minmax(0, 1fr); gap: 10px; padding: 1.5px 0; border: 0; text-align: left; }
  td::before { content: attr(data-name); color: var(--quiet); font-size: 12.5px; }
  td:empty { display: none; }
  td.number { text-align: left; }
  .line { white-space: normal; }
  .history li { grid-template-columns: auto 1fr; gap: 2px 10px; padding: 5px 0; }
  .history li > :nth-child(3) { grid-column: 1 / -1; }
  .history .by { display: none; }
  .filters input { flex: 1; min-width: 0; } .filters label { flex: 1 1 150px; } .filters [role="status"] { margin-left: 0; }
}
`;
