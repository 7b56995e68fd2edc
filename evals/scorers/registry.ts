import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import {
  type Shape,
  shapeProblems,
  suggest,
} from "../../machines/contracts/domain/shape-problems.ts";
import type { SchemaChecker } from "../../machines/contracts/ports/schema-checker.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { Scorer } from "../contracts.ts";

/** What a scorer may need of the program that runs it. */
export interface ScorerContext {
  /** Relative paths in a scorer's parameters start here: the suite's folder. */
  folder: string;
  /** For judges; null where no model can be asked. */
  models: ModelProvider | null;
  /** Reads the JSON Schemas of tasks and suites. */
  schemas: SchemaChecker;
}

/** A type of scorer that suites name. */
export interface ScorerType<Parameters = never> {
  /** Of its parameters in a suite, in the names that suites use. */
  shape: Shape;
  /**
   * Makes one from parameters that fit the shape, which may be left out one by one as the shape allows.
   *
   * @returns a text where they can't be used together: what is wrong
   */
  make(parameters: Parameters, context: ScorerContext, registry: Registry): Scorer | string;
}

/** An entry of a suite's `scorers`, made. */
export interface SuiteScorer {
  scorer: Scorer;
  weight: number;
  required: boolean;
}

/** Where in the entry, and what is wrong there. */
export interface EntryProblem {
  path: readonly (string | number)[];
  problem: string;
}

export type Registry = Readonly<Record<string, ScorerType>>;

/** The names of FerrumDeck's classes of scorers. */
const aliases: Readonly<Record<string, string>> = {
  FilesChangedScorer: "files_changed",
  FilesCreatedScorer: "files_created",
  PRCreatedScorer: "pr_created",
  PRQualityScorer: "pr_quality",
  TestPassScorer: "test_pass",
  TestCoverageScorer: "test_coverage",
  LintScorer: "lint",
  TypeCheckScorer: "type_check",
  SchemaScorer: "schema_valid",
  OutputStructureScorer: "output_structure",
  PolicyComplianceScorer: "no_policy_violations",
  ToolAllowlistScorer: "tool_allowlist",
  BudgetComplianceScorer: "budget_compliance",
  CompositeScorer: "composite",
  LLMJudgeScorer: "llm_judge",
  CodeQualityJudge: "code_quality_judge",
  PRQualityJudge: "pr_quality_judge",
};

/** The keys that every entry may have beside its scorer's parameters. */
const own = ["type", "name", "weight", "required"];

/** Makes a scorer of an entry of a suite, `{type, name?, weight?, required?, …parameters}`. */
export function makeScorer(
  entry: Json,
  registry: Registry,
  context: ScorerContext,
): SuiteScorer | EntryProblem[] {
  if (!isJsonObject(entry))
    return [{ path: [], problem: "expected a scorer, such as {type: test_pass}" }];
  const { type, name, weight = 1, required = true } = entry;
  const problems: EntryProblem[] = [];
  if (name !== undefined && (typeof name !== "string" || name === ""))
    problems.push({ path: ["name"], problem: "expected a text that is not empty" });
  if (typeof weight !== "number" || !(weight >= 0 && Number.isFinite(weight)))
    problems.push({ path: ["weight"], problem: "expected a number, 0 or more" });
  if (typeof required !== "boolean")
    problems.push({ path: ["required"], problem: "expected true or false" });
  const known = Object.keys(registry);
  if (typeof type !== "string") {
    const problem = `expected \`type\`: one of ${known.join(", ")}`;
    return [...problems, { path: [], problem }];
  }
  const meant = Object.hasOwn(aliases, type) ? (aliases[type] ?? type) : type;
  const found = Object.hasOwn(registry, meant) ? registry[meant] : undefined;
  if (found === undefined) {
    const hint = suggest(type, known) || `; expected one of ${known.join(", ")}`;
    return [...problems, { path: ["type"], problem: `there is no scorer "${type}"${hint}` }];
  }
  const parameters = Object.fromEntries(
    Object.entries(entry).filter(([key]) => !own.includes(key)),
  );
  problems.push(...shapeProblems(parameters, found.shape, own));
  if (problems.length > 0) return problems;
  const made = (found as ScorerType<JsonObject>).make(parameters, context, registry);
  if (typeof made === "string") return [{ path: [], problem: made }];
  const scorer = typeof name === "string" ? { ...made, name } : made;
  return { scorer, weight: weight as number, required: required as boolean };
}
