import { readFileSync } from "node:fs";
import { type AnyStateMachine, type AnyStateNode, createMachine } from "xstate";
import { XMLValidator } from "fast-xml-parser";
import { describe, expect, it } from "vitest";
import { chartSvg } from "../../adapters/console/chart-svg.ts";
import { agentLoopMachine } from "../../machines/agent-loop/machine.ts";
import { chartFormats, exportChart } from "../../machines/chart-export.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { supervisorMachine } from "../../machines/supervisor/machine.ts";
import { workflowMachine } from "../../machines/workflow/machine.ts";
import { sampleInput, stepEvents } from "../kit/step-events.ts";
import { stepPaths } from "../kit/step-paths.ts";

const machines = [stepMachine, agentLoopMachine, workflowMachine, supervisorMachine].map(
  (machine) => machine as unknown as AnyStateMachine,
);
const doc = readFileSync(new URL("../../docs/machines.md", import.meta.url), "utf8");

const nodesOf = (node: AnyStateNode): AnyStateNode[] => [
  node,
  ...(Object.values(node.states) as AnyStateNode[]).flatMap(nodesOf),
];

/** What the exported text makes, with the guards and actions of the machine that it names. */
const imported = (machine: AnyStateMachine): AnyStateMachine => {
  const config = JSON.parse(exportChart(machine, "json")) as object;
  const { context } = machine.config;
  return createMachine({ ...config, context } as never, machine.implementations as never);
};

/** Patience for a single try: the paths of more are many times as many. */
const short = { ...sampleInput, limits: { ...sampleInput.limits, maxAttempts: 1, maxRepairs: 0 } };

describe("a machine in other tools' formats", () => {
  it("is XState's own JSON: the step machine made of it has the same paths [machine.export]", () => {
    const own = stepPaths(stepEvents, short);
    const others = stepPaths(stepEvents, short, imported(stepMachine as never) as never);
    const told = (paths: typeof own) =>
      paths.map(({ steps }) =>
        steps.map(({ event, state }) => `${event.type} ${JSON.stringify(state.value)}`).join(" > "),
      );
    expect(own.length).toBeGreaterThan(100);
    expect(told(others)).toEqual(told(own));
  });

  it.each(machines.map((machine) => [machine.id, machine] as const))(
    "%s: the JSON has each state and transition, and the drawings too [machine.export]",
    (_, machine) => {
      const graph = (of: AnyStateMachine) =>
        nodesOf(of.root).map(({ id, transitions }) => [
          id,
          [...transitions].map(([event, all]) => [
            event,
            all.map(({ target }) => target?.map((to) => to.id)),
          ]),
        ]);
      expect(graph(imported(machine))).toEqual(graph(machine));
      const states = nodesOf(machine.root).slice(1);
      for (const format of chartFormats) {
        const text = exportChart(machine, format);
        for (const { key } of states) expect(text, format).toContain(key);
      }
      expect(doc).toContain(exportChart(machine, "markdown"));
      const svg = chartSvg(machine.definition);
      for (const { key } of states) expect(svg).toContain(`>${key}</text>`);
      expect(svg).toContain(`>The state machine &quot;${machine.id}&quot;</title>`);
      expect(XMLValidator.validate(svg)).toBe(true);
    },
  );
});
