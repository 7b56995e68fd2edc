import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { expect, it } from "vitest";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

/** By Prometheus' names, and by what is made under them. */
function declared(): Map<string, string> {
  const sources = [
    "actors/metrics.ts",
    "actors/measured-ports.ts",
    "adapters/telemetry/metrics.ts",
  ];
  const text = sources.map(read).join("\n").replaceAll(/\s+/g, " ");
  const creation = /create(Counter|Histogram)\( ?"([a-z_.]+)", (.*?)(?= (?:const|return) )/g;
  const made = [...text.matchAll(creation)].map(([, kind = "", name = "", options = ""]) => {
    const isTime = options.includes("...seconds");
    const unit = isTime ? "_seconds" : options.includes("{USD}") ? "_usd" : "";
    const end = kind === "Counter" ? "_total" : "";
    return [`${name.replaceAll(".", "_")}${unit}${end}`, kind] as const;
  });
  const creations = text.matchAll(/gauge\( ?"([a-z0-9_.]+)"(?:, "[^"]*"(, "s")?)?/g);
  const gauges = [...creations].map(([, name = "", unit]) => {
    const isLoop = /^(?:p50|p99|max)$/.test(name);
    const own = `stateplane_${name}${unit === undefined ? "" : "_seconds"}`;
    const full = isLoop ? `nodejs_eventloop_delay_${name}_seconds` : own;
    return [full.replaceAll(".", "_"), "Gauge"] as const;
  });
  return new Map([...made, ...gauges]);
}

const used = (text: string): string[] => [
  ...new Set(text.match(/\b(?:stateplane|gen_ai_client|nodejs)_[a-z0-9_]+/g) ?? []),
];

it("the table of metrics names each one that is counted, and no other [metrics.doc]", () => {
  const known = declared();
  expect(known.size).toBeGreaterThan(20);
  const rows = [...read("docs/metrics.md").matchAll(/^\| `([a-z0-9_]+)` \|/gm)];
  expect(rows.map(([, name = ""]) => name).toSorted()).toEqual([...known.keys()].toSorted());
});

it("the dashboard and the alerts ask for metrics that there are [metrics.doc]", () => {
  const known = declared();
  const dashboard = JSON.parse(read("deploy/grafana/stateplane.json")) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  const rules = (
    parse(read("deploy/prometheus/alerts.yaml")) as {
      groups: { rules: { alert: string; expr: string; annotations: { summary: string } }[] }[];
    }
  ).groups.flatMap((group) => group.rules);
  const asked = [
    ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...rules.map(({ expr }) => expr),
  ];
  for (const expression of asked) {
    const names = used(expression);
    expect(names, expression).not.toEqual([]);
    for (const name of names) {
      const plain = name.replace(/_(?:bucket|count|sum)$/, "");
      expect(known.has(name) || known.get(plain) === "Histogram", name).toBe(true);
    }
    // Each parenthesis and brace is closed.
    for (const [open, close] of ["()", "{}", "[]"]) {
      expect(expression.split(open ?? "").length, expression).toBe(
        expression.split(close ?? "").length,
      );
    }
  }
  expect(rules.every(({ annotations }) => annotations.summary !== "")).toBe(true);
  const shown = new Set(
    asked.flatMap(used).map((name) => name.replace(/_(?:bucket|count|sum)$/, "")),
  );
  expect([...known.keys()].filter((name) => !shown.has(name) && !/_p50_/.test(name))).toEqual([]);
});
