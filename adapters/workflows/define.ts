import type { Json } from "../../machines/contracts/domain/json.ts";
import type {
  StepDefinition,
  WorkflowDefinition,
} from "../../machines/contracts/domain/workflow.ts";
import { workflowProblems } from "../../machines/contracts/domain/workflow-problems.ts";
import { writtenPlace } from "../../machines/contracts/domain/workflow-graph.ts";
import { readExpression } from "./expressions.ts";

/** A definition whose steps depend on none but its own; `Id` is the ids of its steps. */
export interface TypedWorkflow<Id extends string> extends Omit<WorkflowDefinition, "steps"> {
  steps: (StepDefinition & { id: Id; depends_on?: NoInfer<Id>[] })[];
}

/** What is wrong in a definition, one a line. */
export class InvalidWorkflow extends TypeError {
  override readonly name = "InvalidWorkflow";
  readonly problems: readonly { where: string; problem: string }[];

  constructor(id: string, problems: readonly { where: string; problem: string }[]) {
    const lines = problems.map(({ where, problem }) => `${where}: ${problem}`);
    super(`the workflow ${JSON.stringify(id)} can't be used:\n${lines.join("\n")}`);
    this.problems = problems;
  }
}

/**
 * A workflow's definition in TypeScript: what a YAML file says, with its types checked as it is written. A dependency
 * on a step that is not there is an error of types; what types can't see (a circle, a condition that does not parse, a
 * path of no step) is told when this is called, before anything runs.
 *
 * @returns plain JSON, as `stateplane workflow validate` reads it from a file
 * @throws InvalidWorkflow with all that is wrong
 *
 * @example
 * import { defineWorkflow } from "stateplane/workflows";
 *
 * const review = defineWorkflow({
 *   id: "review",
 *   name: "Review",
 *   steps: [
 *     { id: "plan", type: "llm", config: { system_prompt: "Answer with files, a list, and risk, 1 to 5." } },
 *     {
 *       id: "read",
 *       type: "parallel",
 *       depends_on: ["plan"],
 *       condition: "$.plan.risk >= 2",
 *       config: {
 *         for_each: "$.plan.files",
 *         max_concurrency: 4,
 *         steps: [
 *           { id: "file", type: "tool", config: { tool_name: "read_file", tool_input_from: { path: "$.item" } } },
 *         ],
 *       },
 *     },
 *   ],
 * });
 * console.log(review.steps.length); // 2
 */
export function defineWorkflow<const Id extends string>(
  definition: TypedWorkflow<Id>,
): WorkflowDefinition {
  const copy = structuredClone(definition) as WorkflowDefinition;
  const problems = workflowProblems(copy as unknown as Json, readExpression);
  if (problems.length === 0) return copy;
  const told = problems.map(({ place, problem }) => ({ where: writtenPlace(place), problem }));
  throw new InvalidWorkflow(definition.id, told);
}
