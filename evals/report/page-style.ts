/** The page's style: the system's own fonts, light and dark by the reader's choice. */
export const style = /* css */ `
:root {
  color-scheme: light dark;
  --ground: #fbfbfc; --panel: #fff; --line: #dfe1e6; --strong: #8a8f9c; --text: #1b1d22; --quiet: #5b6070;
  --accent: #2f4fc4; --tint: #eef1fd; --good: #1c6b3a; --good-tint: #e6f4ea; --bad: #b3261e; --bad-tint: #fdecea;
  --wait: #875200; --wait-tint: #fdf1dc; --idle-tint: #eeeff2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14161a; --panel: #1b1e24; --line: #31353e; --strong: #6f7584; --text: #e6e8ec; --quiet: #a2a8b6;
    --accent: #8ea6ff; --tint: #232a45; --good: #7fd39b; --good-tint: #17301f; --bad: #ff9d94; --bad-tint: #3a1d1b;
    --wait: #f0bd6a; --wait-tint: #35290f; --idle-tint: #272b33;
  }
}
* { box-sizing: border-box; }
html { font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; font-variant-numeric: tabular-nums; }
body { margin: 0 auto; max-width: 1120px; padding: 20px 20px 60px; background: var(--ground); color: var(--text); overflow-wrap: anywhere; }
h1 { font-size: 22px; line-height: 1.3; font-weight: 620; margin: 0; }
h2 { font-size: 16px; font-weight: 620; margin: 26px 0 8px; }
h3 { font-size: 14px; font-weight: 620; margin: 0 0 4px; }
h4 { font-size: 13px; font-weight: 600; margin: 14px 0 4px; }
p { margin: 0 0 4px; max-width: 100ch; }
.quiet, small { color: var(--quiet); }
code, pre, kbd { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
kbd { border: 1px solid var(--line); border-radius: 4px; padding: 0 4px; background: var(--panel); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
main:focus { outline: none; }
.skip { position: absolute; left: -999px; } .skip:focus { left: 8px; top: 8px; background: var(--panel); padding: 6px 12px; z-index: 2; }
.mock { background: var(--bad-tint); color: var(--bad); font-size: 14px; border-radius: 8px; padding: 2px 10px; vertical-align: middle; }
.tiles { list-style: none; display: flex; flex-wrap: wrap; gap: 8px; padding: 0; margin: 10px 0; }
.tiles li { background: var(--idle-tint); border-radius: 8px; padding: 4px 12px; }
.tiles .passed { background: var(--good-tint); color: var(--good); } .tiles .failed { background: var(--bad-tint); color: var(--bad); }
.tiles .unsteady { background: var(--wait-tint); color: var(--wait); }
.filters { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; margin: 22px 0 10px; padding: 8px 0; background: var(--ground); border-bottom: 1px solid var(--line); }
.filters label { color: var(--quiet); } #count { margin-left: auto; color: var(--quiet); }
input, select, button { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--strong); border-radius: 6px; padding: 3px 8px; }
button { cursor: pointer; }
.wide { overflow-x: auto; margin: 8px 0; }
table { width: 100%; border-collapse: collapse; background: var(--panel); border: 1px solid var(--line); }
th { text-align: left; font-weight: 500; color: var(--quiet); font-size: 12.5px; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--line); vertical-align: baseline; }
th, td:not(:last-child) { overflow-wrap: normal; }
td:last-child:not(:first-child) { min-width: 18ch; }
meter { width: 60px; height: 9px; vertical-align: baseline; }
.task { border: 1px solid var(--line); border-left: 4px solid var(--strong); border-radius: 6px; background: var(--panel); margin: 0 0 6px; content-visibility: auto; contain-intrinsic-size: auto 46px; scroll-margin-top: 70px; }
.task.passed { border-left-color: var(--good); } .task.failed { border-left-color: var(--bad); } .task.unsteady { border-left-color: var(--wait); }
.task > summary { display: flex; flex-wrap: wrap; gap: 2px 12px; align-items: baseline; padding: 8px 12px; cursor: pointer; list-style: none; }
.task > summary::-webkit-details-marker { display: none; }
.task > summary::before { content: "▸"; color: var(--quiet); } .task[open] > summary::before { content: "▾"; }
.name { font-weight: 600; }
.numbers { margin-left: auto; display: flex; gap: 14px; color: var(--quiet); }
.why { flex-basis: 100%; color: var(--quiet); padding-left: 22px; }
.change { border-radius: 9px; padding: 0 8px; background: var(--idle-tint); } .change.regressed { background: var(--bad-tint); color: var(--bad); } .change.improved { background: var(--good-tint); color: var(--good); }
.body { padding: 2px 14px 14px; border-top: 1px solid var(--line); }
.trial { margin: 12px 0 0; padding: 10px 12px; border: 1px solid var(--line); border-radius: 6px; background: var(--ground); }
.outcome { font-size: 12.5px; font-weight: 500; border-radius: 9px; padding: 0 8px; background: var(--idle-tint); color: var(--quiet); white-space: nowrap; }
.outcome.passed, .outcome.ok, .outcome.allow { background: var(--good-tint); color: var(--good); }
.outcome.failed, .outcome.refused, .outcome.deny, .outcome.timed-out { background: var(--bad-tint); color: var(--bad); }
.outcome.ask, .outcome.broken { background: var(--wait-tint); color: var(--wait); }
.reason { color: var(--bad); margin: 4px 0; }
.walk { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 4px; margin: 4px 0; padding: 0; align-items: baseline; }
.walk li:not(:last-child)::after { content: "→"; color: var(--quiet); margin: 0 2px 0 6px; }
.state { border-radius: 4px; padding: 1px 6px; background: var(--idle-tint); border-bottom: 3px solid var(--strong); }
.state.tone-executing { border-color: var(--accent); } .state.tone-validating { border-color: #7048b6; } .state.tone-reported { border-color: var(--good); } .state.tone-waiting { border-color: var(--wait); } .state.tone-policy { border-color: #0b7285; }
.bar { display: block; width: 100%; height: 10px; border-radius: 5px; background: var(--idle-tint); }
.bar rect { fill: var(--strong); } .bar .tone-executing { fill: var(--accent); } .bar .tone-validating { fill: #7048b6; } .bar .tone-reported { fill: var(--good); } .bar .tone-waiting { fill: var(--wait); } .bar .tone-policy { fill: #0b7285; }
pre { margin: 0; padding: 8px 12px; white-space: pre-wrap; max-height: 420px; overflow: auto; background: var(--panel); border: 1px solid var(--line); border-radius: 6px; unicode-bidi: plaintext; }
.diff span { display: block; } .diff .added { background: var(--good-tint); color: var(--good); } .diff .removed { background: var(--bad-tint); color: var(--bad); } .diff .place { color: var(--quiet); }
.chart > summary { cursor: pointer; color: var(--quiet); margin-top: 6px; }
.symbols { position: absolute; width: 0; height: 0; overflow: hidden; }
.drawing { overflow: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--panel); padding: 12px; }
.drawing svg { display: block; margin: 0 auto; max-width: 100%; height: auto; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: var(--quiet); }
svg .title { font-size: 13px; fill: var(--text); }
.box > rect { fill: var(--panel); stroke: var(--line); stroke-width: 1.25; } .box.outer > rect { fill: var(--ground); }
.box.passed > rect { fill: var(--tint); stroke: var(--accent); } .box.passed > .title { font-weight: 600; }
.arrow path { fill: none; stroke: var(--strong); stroke-width: 1.1; } .arrow.lit path { stroke: var(--accent); stroke-width: 2; }
.arrow text { font-size: 10.5px; paint-order: stroke; stroke: var(--panel); stroke-width: 4px; stroke-linejoin: round; } .arrow.lit text { fill: var(--accent); }
marker path { fill: var(--strong); } marker.lit path { fill: var(--accent); }
[hidden] { display: none !important; }
@media (max-width: 700px) { body { padding: 14px; } .keys { display: none; } .numbers { margin-left: 22px; flex-wrap: wrap; gap: 2px 12px; } #count { margin-left: 0; } }
@media print { .filters { display: none; } }
`;

/** Finds and filters tasks, and goes through them by keys. Without it the page still shows all. */
export const script = /* js */ `
"use strict";
const tasks = [...document.querySelectorAll(".task")];
const texts = tasks.map((task) => task.querySelector("summary").textContent.toLowerCase());
const get = (id) => document.getElementById(id);
const [find, show, count, none, open] = ["find", "show", "count", "none", "open"].map(get);
const filter = () => {
  const words = find.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  tasks.forEach((task, at) => {
    const fits = words.every((word) => texts[at].includes(word)) && (show.value === "" || task.dataset.is.split(" ").includes(show.value));
    task.hidden = !fits;
    if (fits) shown += 1;
  });
  count.textContent = (shown === tasks.length ? "" : shown + " of ") + tasks.length + (tasks.length === 1 ? " task" : " tasks");
  none.hidden = shown > 0 || tasks.length === 0;
};
find.addEventListener("input", filter);
show.addEventListener("change", filter);
open.addEventListener("click", () => {
  const shown = tasks.filter((task) => !task.hidden);
  const all = shown.every((task) => task.open);
  for (const task of shown) task.open = !all;
});
document.addEventListener("keydown", (event) => {
  const within = event.target.closest("input, select, button, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && event.target === find) { find.value = ""; filter(); find.blur(); return; }
  if (within) return;
  if (event.key === "/") { event.preventDefault(); find.focus(); return; }
  if (event.key !== "j" && event.key !== "k") return;
  const shown = tasks.filter((task) => !task.hidden);
  const at = shown.indexOf(event.target.closest(".task"));
  const to = shown[event.key === "j" ? Math.min(at + 1, shown.length - 1) : Math.max(at - 1, 0)];
  to?.querySelector("summary").focus();
});
`;
