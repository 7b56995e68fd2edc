import type { Doc } from "./api.ts";
import type { Arrow, Box } from "./layout.ts";
import { visible } from "./parts.ts";

/** A step of a workflow's definition. */
interface Defined {
  id: string;
  type: string;
  depends_on?: string[];
  config?: Record<string, Doc>;
}

/** A workflow's definition as boxes: steps in steps nest, and an arrow leads from what is waited for to what waits. */
export function workflowBoxes(
  definition: Doc,
  statusOf: (path: string) => string | null,
  hrefOf: (path: string) => string | null = () => null,
): Box {
  const toBox = (step: Defined, prefix: string): Box => {
    const path = prefix + step.id;
    const status = statusOf(path);
    const href = hrefOf(path);
    const parts = innerOf(step);
    return {
      id: path,
      title: visible(String(step.id)),
      note: [
        visible(String(step.type)),
        ...(status === null ? [] : [status.replaceAll("_", " ")]),
      ].join(" · "),
      tone: status === null ? "" : status,
      inner: parts.map((inner) => toBox(inner, `${path}/`)),
      arrows: arrowsOf(parts, `${path}/`, step.type !== "parallel"),
      ...(href !== null && { href }),
    };
  };
  const steps = listOf(definition?.steps);
  return {
    id: "",
    title: "",
    tone: "",
    inner: steps.map((step) => toBox(step, "")),
    arrows: arrowsOf(steps, "", false),
  };
}

const listOf = (steps: Doc): Defined[] => (Array.isArray(steps) ? steps : []);

function innerOf({ config = {} }: Defined): Defined[] {
  return [...listOf(config["steps"]), ...listOf(config["then"]), ...listOf(config["else"])];
}

const arrowsOf = (steps: readonly Defined[], prefix: string, isOrdered: boolean): Arrow[] =>
  steps.flatMap((step, at) => {
    const last = steps[at - 1];
    const needs = step.depends_on ?? (isOrdered && last !== undefined ? [last.id] : []);
    return needs.map((id) => ({
      from: prefix + id,
      to: prefix + step.id,
      label: "",
      isLit: false,
    }));
  });
