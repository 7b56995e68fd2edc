import { isJsonObject, type Json, type JsonObject } from "./json.ts";

/** A text of a definition that is worked out while the workflow runs. */
export interface Expression {
  /** `condition`: holds or not. `path`: begins with `$`. `template`: a text, with `{{$.path}}` in it. */
  kind: "condition" | "path" | "template";
  text: string;
  /** Below the step. */
  place: readonly (string | number)[];
  /** What stands there instead of an expression. */
  problem?: string;
}

/** A text that selects: one path where it begins like one, else a template. */
export const selectedKind = (text: string): "path" | "template" =>
  text.trimStart().startsWith("$") ? "path" : "template";

/** All expressions of one step, not those of the steps in it. */
export function collectExpressions(step: JsonObject): Expression[] {
  const found: Expression[] = [];
  const config = isJsonObject(step["config"]) ? step["config"] : {};
  const add = (kind: Expression["kind"], holder: JsonObject, ...place: string[]): void => {
    const text = holder[place.at(-1) ?? ""];
    if (typeof text === "string") found.push({ kind, text, place });
  };
  add("condition", step, "condition");
  if (step["type"] === "condition") add("condition", config, "config", "if");
  if (step["type"] === "parallel") add("path", config, "config", "for_each");
  add("template", config, "config", "approval_message");
  for (const key of ["tool_input_from", "input_from"]) {
    if (config[key] !== undefined) collectSelected(config[key], ["config", key], found);
  }
  const [whole] = found.filter(({ place }) => place.join(".") === "config.tool_input_from");
  if (whole?.kind === "template" && !whole.text.includes("{{")) {
    whole.problem = "expected a path such as $.step.field, or an object of paths and templates";
  }
  return found;
}

function collectSelected(given: Json, place: (string | number)[], found: Expression[]): void {
  if (typeof given === "string") found.push({ kind: selectedKind(given), text: given, place });
  if (typeof given !== "object" || given === null) return;
  const parts = Array.isArray(given) ? [...given.entries()] : Object.entries(given);
  for (const [key, part] of parts) collectSelected(part, [...place, key], found);
}
