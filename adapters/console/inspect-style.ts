/** What the inspector's page adds to the console's style sheet. */
export const inspectStyle = /* css */ `
main.inspect { max-width: none; padding: 12px 16px 24px; display: grid; gap: 12px 16px; grid-template-columns: minmax(380px, 5fr) minmax(0, 6fr); align-items: start; }
main.inspect.with-detail { grid-template-rows: auto 1fr; }
.with-detail .detail { grid-column: 2; grid-row: 1 / span 2; } .with-detail .middle { grid-column: 1; } .with-detail .left { position: static; }
.with-detail .drawing { max-height: 70vh; }
main.inspect h2 { margin: 14px 0 6px; }
main.inspect h3 { font-size: 13px; font-weight: 600; margin: 14px 0 4px; color: var(--quiet); }
.inspect .left { position: sticky; top: 56px; min-width: 0; } .inspect .middle { min-width: 0; }
.inspect .drawing { max-height: calc(100vh - 130px); }
.inspect .drawing svg { width: 100%; min-width: 520px; max-width: 900px; }
.totals { display: flex; flex-wrap: wrap; gap: 4px 16px; min-height: 22px; margin-bottom: 6px; }
.note { margin: 6px 2px 0; font-size: 12.5px; }
.badge.idle { background: var(--idle-tint); color: var(--idle); }

.box > rect, .box > .title { transition: fill 0.35s, stroke 0.35s; }
.box.fresh > rect { stroke-width: 3; }
.count rect { fill: var(--accent); stroke: var(--panel); stroke-width: 1.5; }
.count text { fill: var(--on-accent); font-size: 11px; font-weight: 650; }

.inspect .filters { margin-bottom: 8px; gap: 6px 12px; }
.inspect .filters input { min-width: 0; width: 110px; }
.list { position: relative; overflow: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--panel); contain: strict; }
.list.actors { height: max(200px, calc(58vh - 120px)); }
.list.log { height: max(160px, calc(42vh - 80px)); }
.item { position: absolute; left: 0; right: 0; height: 26px; display: grid; gap: 10px; align-items: center; padding: 0 10px; white-space: nowrap; cursor: pointer; border-bottom: 1px solid color-mix(in srgb, var(--line) 55%, transparent); }
.item > * { overflow: hidden; text-overflow: ellipsis; }
.item .status { white-space: nowrap; }
.item:hover { background: color-mix(in srgb, var(--tint) 50%, transparent); }
.item[aria-selected="true"] { background: var(--tint); box-shadow: inset 3px 0 0 var(--accent); }
.actors .item { grid-template-columns: minmax(90px, 1.4fr) 62px minmax(0, 1.6fr) minmax(110px, 1.8fr) minmax(0, 1.8fr) minmax(0, 1.2fr); }
.log .item { grid-template-columns: 92px minmax(80px, 2fr) minmax(90px, 2fr) minmax(0, 3fr); font-size: 12.5px; }
.with-detail .actors .item { grid-template-columns: minmax(90px, 1.4fr) 62px minmax(0, 1.6fr) minmax(110px, 1.8fr); }
.with-detail .actors .event, .with-detail .actors .event ~ .name, .with-detail .log .name { display: none; }
.with-detail .log .item { grid-template-columns: 92px minmax(80px, 1fr) minmax(0, 1fr); }

.detail { margin: 0; min-width: 0; }
.detail .heading { margin: 0; } .detail .heading h2 { margin: 0; } .detail .heading button { margin-left: auto; }
.detail .about { margin: 2px 0 8px; font-size: 12.5px; }
.related { display: flex; flex-wrap: wrap; gap: 2px; margin: 0 0 6px -6px !important; }
.related button { color: var(--accent); padding: 1px 6px; font-size: 12.5px; }
.stepper { display: flex; gap: 8px; align-items: center; margin: 6px 0; }
.stepper input { flex: 1; min-width: 60px; padding: 0; accent-color: var(--accent); }
.stepper span { white-space: nowrap; font-size: 12.5px; }
.moments { position: relative; list-style: none; margin: 0; padding: 2px; max-height: 230px; overflow: auto; border: 1px solid var(--line); border-radius: 6px; background: var(--ground); }
.moments button { display: grid; grid-template-columns: 88px minmax(110px, 1fr) minmax(0, 1fr); gap: 10px; width: 100%; text-align: left; border: 0; background: none; padding: 2px 8px; border-radius: 4px; }
.moments button > * { overflow: hidden; text-overflow: ellipsis; }
.moments button.now { background: var(--accent); color: var(--on-accent); } .moments button.now .quiet { color: inherit; }
.moments time { color: var(--quiet); font-size: 12px; } .moments .now time { color: inherit; }
.moments .begins { border-top: 1px dashed var(--strong); margin-top: 3px; padding-top: 3px; }
.tree { overflow: auto; }
.leaf, .branch > summary { font: 12.5px/1.55 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; margin: 0; color: var(--text); }
.branch > :not(summary) { margin-left: 16px; } .leaf { padding-left: 14px; text-indent: -14px; margin-left: 14px; }
.branch .branch { margin-left: 14px; }
.key { color: var(--quiet); margin-right: 0.7ch; } .said { color: var(--good); white-space: pre-wrap; } .plain { color: var(--accent); }
.leaf button.plain { font: inherit; padding: 0 4px; text-indent: 0; }

.sign-in:has(.stately) { max-width: none; padding: 0; } .stately { display: block; width: 100%; height: 100vh; border: 0; }
@media (max-width: 860px) {
  main.inspect, main.inspect.with-detail { grid-template-columns: minmax(0, 1fr); padding: 10px 12px 32px; }
  .with-detail .detail, .with-detail .middle { grid-column: 1; grid-row: auto; } .with-detail .detail { order: -1; }
  .inspect .left { position: static; } .inspect .drawing { max-height: 60vh; }
  .list.actors { height: 280px; } .list.log { height: 220px; }
  .actors .item { grid-template-columns: minmax(80px, 1fr) minmax(100px, 1fr); } .actors .kind, .actors .event, .actors .about, .actors .event ~ .name { display: none; }
  .log .item { grid-template-columns: 88px minmax(80px, 1fr) minmax(0, 1fr); } .log .name { display: none; }
}
@media (prefers-reduced-motion: reduce) { .box > rect, .box > .title { transition: none; } }
`;
