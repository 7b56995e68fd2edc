import { fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import type {
  WorkflowEngine,
  WorkflowProgram,
  WorkflowReader,
  WorkflowState,
  WorkflowStepState,
  WorkflowTurn,
} from "../../machines/contracts/ports/workflow-engine.ts";
import { outstanding } from "../../machines/workflow/advance.ts";
import { stepAt, stepPath } from "../../machines/workflow/context.ts";
import type { WorkflowEvent } from "../../machines/workflow/events.ts";
import { type Plan, planWorkflow } from "../../machines/workflow/plan.ts";
import { restoreRun, saveRun, type WorkflowSnapshot } from "../../machines/workflow/saved.ts";
import { runOutput } from "../../machines/workflow/scope.ts";
import { type MadeTurn, outputsOf, Turn, workflow } from "./turn.ts";

/** An engine of a reader's: it works the expressions out, and this drives the machine. */
export function createWorkflowEngine(reader: WorkflowReader): WorkflowEngine {
  return {
    open(definition) {
      const problems = reader.problems(definition);
      if (problems.length > 0)
        return fail(terminal("invalid_input", cutText(problems.join("; "), 2_000)));
      return ok(program(reader, planWorkflow(definition as unknown as WorkflowDefinition)));
    },
  };
}

const program = (reader: WorkflowReader, plan: Plan): WorkflowProgram => ({
  begin(values) {
    const { snapshot } = workflow.initial({ plan });
    return turnOf(reader, new Turn(reader, snapshot, values).run([]));
  },
  restore(saved, events) {
    const restored = restoreRun(plan, saved);
    if (!restored.ok) return restored;
    let snapshot = restored.value;
    for (const event of events)
      ({ snapshot } = workflow.next(snapshot, event as unknown as WorkflowEvent));
    return ok(stateOf(reader, snapshot));
  },
});

const turnOf = (reader: WorkflowReader, { snapshot, ...made }: MadeTurn): WorkflowTurn => ({
  run: stateOf(reader, snapshot),
  ...made,
});

const stateOf = (reader: WorkflowReader, snapshot: WorkflowSnapshot): WorkflowState => ({
  phase: snapshot.context.phase,
  failure: snapshot.context.failure,
  asking: snapshot.context.asking,
  size: snapshot.context.steps.size,
  take: (happening, values) => turnOf(reader, new Turn(reader, snapshot, values).run([happening])),
  goOn: (rest, values) => turnOf(reader, new Turn(reader, snapshot, values).goOn(rest)),
  output: (values) => runOutput(snapshot.context, outputsOf(values)),
  save: () => saveRun(snapshot) as unknown as Json,
  steps: () => stepsOf(snapshot),
  stopping: () => outstanding(snapshot.context).cancel,
});

function stepsOf({ context }: WorkflowSnapshot): WorkflowStepState[] {
  const steps: WorkflowStepState[] = [];
  for (let step = 0; step < context.steps.size; step += 1) {
    const found = stepAt(context, step);
    if (found === null) continue;
    const { status, attempt, reason = null } = found.state;
    const path = stepPath(context, step);
    steps.push({ step, path, type: found.node.type, status, attempt, reason });
  }
  return steps;
}
