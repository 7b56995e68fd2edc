import type { StepDefinition, WorkflowDefinition } from "../contracts/domain/workflow.ts";

/** A list of steps, and what it is to the step that it stands in. */
interface Part {
  title: string;
  steps: readonly StepDefinition[];
  /** Whether a step that says no `depends_on` waits for the one before it. */
  isOrdered: boolean;
}

function partsOf(step: StepDefinition): Part[] {
  switch (step.type) {
    case "loop":
      return [{ title: "each time", steps: step.config?.steps ?? [], isOrdered: true }];
    case "parallel": {
      const { steps = [], for_each: list } = step.config ?? {};
      return [
        { title: list === undefined ? "" : "each item", steps, isOrdered: list !== undefined },
      ];
    }
    case "condition": {
      const { then = [], else: other = [] } = step.config ?? {};
      const parts = [
        { title: "then", steps: then, isOrdered: true },
        { title: "else", steps: other, isOrdered: true },
      ];
      return parts.filter(({ steps }) => steps.length > 0);
    }
    default:
      return [];
  }
}

/** What a reader should know of a step beside its type and what it waits for. */
function remarks(step: StepDefinition, owner: WorkflowDefinition): string[] {
  const said: string[] = [];
  if (step.type === "condition") said.push(`asks ${step.config?.if ?? ""}`);
  if (step.type === "workflow") said.push(`runs ${step.config?.workflow ?? ""}`);
  if (step.type === "loop") {
    said.push(`at most ${step.config?.max_iterations ?? owner.max_iterations ?? 10} times`);
  }
  if (step.type === "parallel" && step.config?.for_each !== undefined) {
    said.push(
      `for each of ${step.config.for_each}`,
      `${step.config.max_concurrency ?? 10} at once`,
    );
  }
  if (step.type === "tool") said.push(step.config?.tool_name ?? "");
  if (step.type === "approval" && step.config?.tool_name !== undefined) {
    said.push(step.config.tool_name);
  }
  if (step.type === "tool" && step.config?.requires_approval === true) said.push("asks a person");
  if (step.condition !== undefined) said.push(`if ${step.condition}`);
  return said;
}

/** What each step of a list waits for. */
function needsOf({ steps, isOrdered }: Part): (readonly [StepDefinition, readonly string[]])[] {
  return steps.map((step, at) => {
    const last = steps[at - 1];
    return [step, step.depends_on ?? (isOrdered && last !== undefined ? [last.id] : [])];
  });
}

/** A row of a workflow's text. Titles have a name alone. */
export type GraphRow = readonly [name: string, type: string, said: string];

/** A workflow as rows: each step with its type, what it waits for, and when it runs; the names of nested ones indented. */
export function workflowRows(definition: WorkflowDefinition): GraphRow[] {
  const rows: GraphRow[] = [];
  const add = (owner: WorkflowDefinition, part: Part, depth: number): void => {
    for (const [step, needs] of needsOf(part)) {
      const after = part.isOrdered || needs.length === 0 ? [] : [`after ${needs.join(", ")}`];
      const said = [...after, ...remarks(step, owner)].filter((text) => text !== "").join("; ");
      rows.push([`${"  ".repeat(depth)}${step.id}`, step.type, said]);
      for (const inner of partsOf(step)) {
        const isNamed = step.type === "condition";
        if (isNamed) rows.push([`${"  ".repeat(depth + 1)}${inner.title}:`, "", ""]);
        add(owner, inner, depth + (isNamed ? 2 : 1));
      }
    }
  };
  for (const one of [definition, ...(definition.workflows ?? [])]) {
    if (one !== definition) rows.push(["", "", ""]);
    rows.push([`${one.id} ${one.version ?? "1.0.0"}`, "", ""]);
    add(one, { title: "", steps: one.steps, isOrdered: false }, 1);
  }
  return rows;
}

/** A workflow as a Mermaid flowchart (mermaid.js.org), steps in steps as subgraphs. */
export function workflowMermaid(definition: WorkflowDefinition): string {
  const lines = ["flowchart TD"];
  let count = 0;
  const subs = new Map((definition.workflows ?? []).map((sub) => [sub.id, `w${(count += 1)}`]));
  const edges: string[] = [];

  const add = (owner: WorkflowDefinition, part: Part, depth: number): void => {
    const indent = "  ".repeat(depth);
    const names = new Map(part.steps.map((step) => [step.id, `s${(count += 1)}`]));
    for (const [step, needs] of needsOf(part)) {
      const name = names.get(step.id) ?? "";
      const said = remarks(step, owner).filter((text) => text !== "");
      const title = label([step.id, [step.type, ...said].join(", ")]);
      const inner = partsOf(step);
      if (inner.length === 0) lines.push(`${indent}${name}${shape(step, title)}`);
      else {
        lines.push(`${indent}subgraph ${name} [${title}]`);
        for (const one of inner) {
          if (inner.length === 1) add(owner, one, depth + 1);
          else {
            lines.push(`${indent}  subgraph ${name}_${one.title} [${label([one.title])}]`);
            add(owner, one, depth + 2);
            lines.push(`${indent}  end`);
          }
        }
        lines.push(`${indent}end`);
      }
      edges.push(...needs.map((id) => `  ${names.get(id) ?? ""} --> ${name}`));
      const used = step.type === "workflow" ? subs.get(step.config?.workflow ?? "") : undefined;
      if (used !== undefined) edges.push(`  ${name} -.-> ${used}`);
    }
  };
  add(definition, { title: "", steps: definition.steps, isOrdered: false }, 1);
  for (const sub of definition.workflows ?? []) {
    lines.push(`  subgraph ${subs.get(sub.id) ?? ""} [${label([sub.id])}]`);
    add(sub, { title: "", steps: sub.steps, isOrdered: false }, 2);
    lines.push("  end");
  }
  return [...lines, ...edges].join("\n");
}

function shape({ type }: StepDefinition, title: string): string {
  if (type === "condition") return `{${title}}`;
  return type === "approval" ? `[/${title}/]` : `[${title}]`;
}

/** In quotes, where Mermaid takes nothing but these for anything else than text. */
function label(lines: readonly string[]): string {
  const escaped = lines.map((line) =>
    line.replaceAll(/["#<>&;`\p{Cc}]/gu, (letter) => `#${letter.codePointAt(0) ?? 32};`),
  );
  return `"${escaped.join("<br/>")}"`;
}
