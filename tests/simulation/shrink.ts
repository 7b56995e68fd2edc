import type { FaultPlan, Plan, StepPlan } from "./plan.ts";
import type { PlantName } from "./plants.ts";
import { simulate } from "./simulate.ts";

type Part = { step: StepPlan } | { fault: FaultPlan };

/**
 * Takes steps and faults out of a failing plan for as long as it still breaks the same promise: halves first,
 * then smaller parts, as delta debugging does (Zeller and Hildebrandt, 2002).
 */
export async function shrink(plan: Plan, promise: string, plant: PlantName | null): Promise<Plan> {
  const made = (parts: readonly Part[]): Plan => ({
    ...plan,
    steps: parts.flatMap((part) => ("step" in part ? [part.step] : [])),
    faults: parts.flatMap((part) => ("fault" in part ? [part.fault] : [])),
  });
  const breaks = async (parts: readonly Part[]) => {
    const { broken } = await simulate(made(parts), plant);
    return broken.some((one) => one.promise === promise);
  };
  let parts: Part[] = [
    ...plan.faults.map((fault) => ({ fault })),
    ...plan.steps.map((step) => ({ step })),
  ];
  for (let size = Math.ceil(parts.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let isSmaller = true; isSmaller;) {
      isSmaller = false;
      for (let at = 0; at < parts.length; at += size) {
        const fewer = [...parts.slice(0, at), ...parts.slice(at + size)];
        if (!(await breaks(fewer))) continue;
        parts = fewer;
        isSmaller = true;
        break;
      }
    }
  }
  return made(parts);
}
