import { globSync } from "node:fs";
import { join } from "node:path";
import { createActor } from "xstate";
import { expect, it } from "vitest";
import { stepMachine } from "../../machines/step/machine.ts";
import { agentLoopMachine } from "../../machines/agent-loop/machine.ts";
import { supervisorMachine } from "../../machines/supervisor/machine.ts";
import { workflowMachine } from "../../machines/workflow/machine.ts";
import { planWorkflow } from "../../machines/workflow/plan.ts";
import { sampleInput } from "../kit/step-events.ts";

const machines = {
  "agent-loop": agentLoopMachine,
  step: stepMachine,
  supervisor: supervisorMachine,
  workflow: workflowMachine,
};

it("every machine folder is known here, so that each is constructed below", () => {
  const root = join(import.meta.dirname, "../..");
  const folders = globSync("machines/*/machine.ts", { cwd: root }).map(
    (path) => path.split("/")[1],
  );
  expect(folders.sort()).toEqual(Object.keys(machines).sort());
});

it("every machine constructs, and starts in its first state", () => {
  const step = createActor(stepMachine, { input: sampleInput });
  expect(step.getSnapshot().value).toBe("pending");
  const input = { capacity: 1, giveUpMs: 1 };
  const supervisor = createActor(supervisorMachine, { input });
  expect(supervisor.getSnapshot().value).toBe("receiving");
  const limits = { maxIterations: 1, maxRepeats: 1, windowTokens: 1 };
  const loop = createActor(agentLoopMachine, { input: { limits } });
  expect(loop.getSnapshot().value).toBe("asking");
  const plan = planWorkflow({ id: "w", name: "W", steps: [{ id: "a", type: "llm" }] });
  const workflow = createActor(workflowMachine, { input: { plan } });
  expect(workflow.getSnapshot().value).toBe("running");
});

it.each(Object.entries(machines))("every invoked actor of %s is named", (_name, machine) => {
  const nameless: string[] = [];
  const visit = (node: typeof machine.root): void => {
    for (const { id, src } of node.invoke) {
      if (typeof src !== "string" || id.includes("[") || id === "")
        nameless.push(`${node.id}: ${id}`);
    }
    for (const child of Object.values(node.states)) visit(child as typeof machine.root);
  };
  visit(machine.root);
  expect(nameless).toEqual([]);
});
