import type {
  OnError,
  StepDefinition,
  WorkflowDefinition,
  WorkflowStepType,
} from "../contracts/domain/workflow.ts";

/** When a failed step is tried again. */
export interface RetryPlan {
  maxAttempts: number;
  delayMs: number;
  multiplier: number;
}

/** One step of a body, with what the machine decides by. Numbers are places in the body. JSON. */
export interface PlanNode {
  id: string;
  type: WorkflowStepType;
  /** As it was written. */
  definition: StepDefinition;
  /** The steps whose results it needs. */
  data: number[];
  /** The step that only has to have ended. */
  order: number[];
  /** The steps that wait for this one, by `data` or `order`; `isData` says which. */
  dependents: { node: number; isData: boolean }[];
  /** Whether somebody must look at earlier results before it starts: a condition, a list, a branch, an input. */
  decides: boolean;
  retry: RetryPlan | null;
  timeoutMs: number | null;
  /** Whether the others go on when it has failed for good. */
  goesOn: boolean;
  /** What runs in it, by place in the plan; none for steps that a worker runs. */
  bodies: Partial<Record<"each" | "yes" | "no", number>>;
  /** Of `each`: how often, at most. */
  maxIterations: number;
  /** Of `each`: how many at the same time. */
  maxConcurrency: number;
  /** Whether `each` runs for each item of a list. */
  isForEach: boolean;
}

/** Steps that run together: a workflow's, a loop's, a branch's. */
export interface Body {
  nodes: PlanNode[];
}

/** A definition as its machine reads it. The first body is the workflow's own. */
export interface Plan {
  id: string;
  version: string;
  bodies: Body[];
}

const usual: RetryPlan = { maxAttempts: 3, delayMs: 1_000, multiplier: 2 };
const usualIterations = 10;
const usualConcurrency = 10;
const containers: ReadonlySet<WorkflowStepType> = new Set([
  "loop",
  "parallel",
  "condition",
  "workflow",
]);

/** Whether a step is made of other steps, and no worker runs it. */
export const isContainer = ({ type }: Pick<PlanNode, "type">): boolean => containers.has(type);

/** Makes the plan of a definition that has been found right. */
export function planWorkflow(definition: WorkflowDefinition): Plan {
  const bodies: Body[] = [{ nodes: [] }];
  // Each workflow has one body, however often it runs.
  const subs = new Map(
    (definition.workflows ?? []).map((sub) => [sub.id, bodies.push({ nodes: [] }) - 1]),
  );
  fill(0, definition.steps, definition, false, true);
  for (const sub of definition.workflows ?? []) {
    fill(subs.get(sub.id) ?? 0, sub.steps, sub, false, true);
  }
  const { id, version = "1.0.0" } = definition;
  return { id, version, bodies };

  function fill(
    at: number,
    steps: readonly StepDefinition[],
    owner: WorkflowDefinition,
    isOrdered: boolean,
    isTop: boolean,
  ): void {
    const places = new Map(steps.map((step, place) => [step.id, place]));
    const nodes = steps.map((step, place): PlanNode => {
      const needs = step.depends_on?.map((need) => places.get(need) ?? 0);
      const onError = step.on_error ?? owner.on_error ?? "fail";
      return {
        id: step.id,
        type: step.type,
        definition: step,
        data: [...new Set(needs)],
        order: needs === undefined && isOrdered && place > 0 ? [place - 1] : [],
        dependents: [],
        retry: retryOf(step, onError),
        timeoutMs: step.timeout_ms ?? null,
        // A step in a loop or branch fails it unless it says otherwise itself: what is half done is not done.
        goesOn: (isTop ? onError : step.on_error) === "continue",
        ...inside(step, owner),
      };
    });
    for (const [place, { data, order }] of nodes.entries()) {
      for (const one of data) nodes[one]?.dependents.push({ node: place, isData: true });
      for (const one of order) nodes[one]?.dependents.push({ node: place, isData: false });
    }
    bodies[at] = { nodes };
  }

  function inside(
    step: StepDefinition,
    owner: WorkflowDefinition,
  ): Pick<PlanNode, "decides" | "bodies" | "maxIterations" | "maxConcurrency" | "isForEach"> {
    const plain = {
      decides: step.condition !== undefined,
      bodies: {},
      maxIterations: 1,
      maxConcurrency: 1,
      isForEach: false,
    };
    const add = (steps: readonly StepDefinition[] | undefined, isOrdered: boolean): number => {
      const at = bodies.push({ nodes: [] }) - 1;
      fill(at, steps ?? [], owner, isOrdered, false);
      return at;
    };
    switch (step.type) {
      case "loop": {
        const most = step.config?.max_iterations ?? owner.max_iterations ?? usualIterations;
        return { ...plain, bodies: { each: add(step.config?.steps, true) }, maxIterations: most };
      }
      case "parallel": {
        const {
          steps,
          for_each: list,
          max_concurrency: most = usualConcurrency,
        } = step.config ?? {};
        const isForEach = list !== undefined;
        return {
          ...plain,
          decides: plain.decides || isForEach,
          bodies: { each: add(steps, isForEach) },
          maxConcurrency: most,
          isForEach,
        };
      }
      case "condition": {
        const { then, else: other } = step.config ?? {};
        return {
          ...plain,
          decides: true,
          bodies: { yes: add(then, true), no: add(other, true) },
        };
      }
      case "workflow":
        return {
          ...plain,
          decides: true,
          bodies: { each: subs.get(step.config?.workflow ?? "") ?? 0 },
        };
      default:
        return plain;
    }
  }
}

/** Steps made of others are tried again only where they say so themselves. */
function retryOf(step: StepDefinition, onError: OnError): RetryPlan | null {
  const { retry } = step;
  if (retry === undefined) return onError === "retry" && !isContainer(step) ? usual : null;
  return {
    maxAttempts: retry.max_attempts ?? usual.maxAttempts,
    delayMs: retry.delay_ms ?? usual.delayMs,
    multiplier: retry.backoff_multiplier ?? usual.multiplier,
  };
}
