import { type } from "arktype";
import { budgetShape } from "./budget.ts";
import type { Json, JsonObject } from "./json.ts";

/*
 * A workflow's definition, in FerrumDeck's format: YAML or JSON, or `defineWorkflow`. What is ours beyond that format:
 * the step types `retrieval`, `sandbox` and `workflow`, a step's `on_error`, `input_from`, objects in `tool_input_from`,
 * `for_each` and `max_concurrency` of `parallel`, `if`, `then` and `else` of `condition`, and `workflows`.
 */

/** What happens when a step has failed for good. `retry` gives a step that says no `retry` of its own the usual one. */
export type OnError = "fail" | "continue" | "retry";

export interface RetryConfig {
  /** From 1 to 10, the first attempt counted; 3 when left out. */
  max_attempts?: number;
  /** Milliseconds before the second attempt, at least 100; 1000 when left out. */
  delay_ms?: number;
  /** Each later delay is so many times the one before, from 1 to 5; 2 when left out. */
  backoff_multiplier?: number;
}

/** A path (`$.plan.file`), a text with paths in it (`Read {{$.plan.file}}`), or an object or list of such. */
export type Selected = Json;

interface ToolConfig {
  tool_name: string;
  /** Sent as it is written. */
  tool_input?: JsonObject;
  /** Selected from earlier results, over `tool_input`. One value that is no object is the tool's only required argument. */
  tool_input_from?: Selected;
  requires_approval?: boolean;
  /** What the person who is asked reads; `{{$.path}}` in it is filled in. */
  approval_message?: string;
}

/** What each step type takes as its `config`. */
export interface StepConfigs {
  llm: {
    model?: string;
    system_prompt?: string;
    task?: string;
    prompt?: string;
    content?: string;
    messages?: Json[];
    documents?: Json[];
    max_tokens?: number;
    temperature?: number;
    model_params?: JsonObject;
    allowed_tools?: string[];
    output_schema?: JsonObject;
    agentic_mode?: boolean;
    max_iterations?: number;
    on_incomplete?: "fail" | "partial";
    budget?: JsonObject;
    /** More of the step's input, selected from earlier results. Without it a step is shown what it depends on. */
    input_from?: Record<string, Selected>;
  };
  tool: ToolConfig & { allowed_tools?: string[]; budget?: JsonObject; output_schema?: JsonObject };
  retrieval: {
    query?: string;
    collection?: string;
    top_k?: number;
    backend?: "local" | "httpx" | "http" | "index";
    filter?: JsonObject;
    documents?: Json[];
    output_schema?: JsonObject;
    input_from?: Record<string, Selected>;
  };
  sandbox: {
    code?: string;
    language?: "python" | "bash" | "node" | "javascript" | "typescript";
    args?: string[];
    stdin?: string;
    fail_on_nonzero?: boolean;
    timeout_seconds?: number;
    memory_mib?: number;
    env?: Record<string, string>;
    files?: Record<string, string>;
    outputs?: string[];
    max_output_files?: number;
    max_output_mib?: number;
    input_from?: Record<string, Selected>;
  };
  /** With a tool, the tool is called after the yes. */
  approval: Partial<ToolConfig> & { message?: string };
  /** The steps of one branch run, in their order. */
  condition: { if: string; then?: StepDefinition[]; else?: StepDefinition[] };
  /** The steps run in their order, again and again, until an output has a true `done` or the bound is met. */
  loop: { steps: StepDefinition[]; max_iterations?: number };
  /** The steps run at the same time; with `for_each` in their order, once for each item of the list. */
  parallel: { steps: StepDefinition[]; for_each?: string; max_concurrency?: number };
  /** One of the definition's `workflows`; its steps see this input and nothing else. */
  workflow: { workflow: string; input?: JsonObject; input_from?: Record<string, Selected> };
}

export type WorkflowStepType = keyof StepConfigs;

interface StepBase<Type extends WorkflowStepType> {
  id: string;
  name?: string;
  type: Type;
  config?: StepConfigs[Type];
  /**
   * The steps whose results this one needs. Left out where steps run in their order, a step waits for the one before
   * it, however that one ends.
   */
  depends_on?: string[];
  /** The step is skipped unless this holds: `$.plan.files != null && $.plan.risk <= 3`. */
  condition?: string;
  /** Of one attempt; at least 1000. */
  timeout_ms?: number;
  retry?: RetryConfig;
  on_error?: OnError;
}

export type StepDefinition = { [Type in WorkflowStepType]: StepBase<Type> }[WorkflowStepType];

export interface WorkflowDefinition {
  id: string;
  name: string;
  description?: string;
  /** Three numbers: `1.0.0`, which also stands where it is left out. */
  version?: string;
  steps: StepDefinition[];
  /** For steps that don't say it themselves; `fail` when left out. */
  on_error?: OnError;
  /** Of loops that don't say it themselves, from 1 to 100; 10 when left out. */
  max_iterations?: number;
  /** JSON Schema of what the workflow brings; kept, and shown to readers. */
  output?: JsonObject;
  /** Workflows that steps of type `workflow` run. */
  workflows?: WorkflowDefinition[];
}

export const onErrors = ["fail", "continue", "retry"] as const satisfies OnError[];

const iterations = type("1 <= number.integer <= 100").describe("a whole number from 1 to 100");
const object = type("object")
  .narrow((value) => !Array.isArray(value))
  .describe("an object");
const text = (most: number) =>
  type(`0 < string <= ${most}`).describe(`a text of 1 to ${most} characters`);
const stepList = type("unknown[] > 0").describe("a list of at least one step");

/** What a whole definition may hold; its steps are read one by one. */
export const workflowShape = type({
  id: text(128),
  name: text(256),
  "description?": "string",
  "version?": type(/^\d+\.\d+\.\d+$/u).describe("three numbers such as 1.0.0"),
  steps: stepList,
  "on_error?": type.enumerated(...onErrors),
  "max_iterations?": iterations,
  "output?": object,
  "workflows?": "unknown[]",
});

/** What every step may hold; its `config` is read by its type. */
export const stepShape = type({
  id: text(128),
  "name?": "string",
  type: "string",
  "config?": object,
  "depends_on?": "string[]",
  "condition?": "string",
  "timeout_ms?": type("1000 <= number.integer <= 2147483647").describe(
    "a whole number of milliseconds, at least 1000",
  ),
  "retry?": {
    "max_attempts?": "1 <= number.integer <= 10",
    "delay_ms?": "100 <= number.integer <= 86400000",
    "backoff_multiplier?": "1 <= number <= 5",
  },
  "on_error?": type.enumerated(...onErrors),
});

const budget = budgetShape.onDeepUndeclaredKey("delete");
const tool = {
  "tool_input?": object,
  "tool_input_from?": "string | object",
  "requires_approval?": "boolean",
  "approval_message?": "string",
} as const;
const selected = { "input_from?": object } as const;
const checked = { "output_schema?": object } as const;

/** What a `config` of each type may hold. What the worker reads it checks once more, by the same rules. */
export const configShapes = {
  llm: type({
    "model?": "string",
    "system_prompt?": "string",
    "task?": "string",
    "prompt?": "string",
    "content?": "string",
    "messages?": "unknown[]",
    "documents?": "unknown[]",
    "max_tokens?": "number.integer > 0",
    "temperature?": "0 <= number <= 2",
    "model_params?": object,
    "allowed_tools?": "string[]",
    "output_schema?": object,
    "agentic_mode?": "boolean",
    "max_iterations?": "number.integer > 0",
    "on_incomplete?": "'fail' | 'partial'",
    "budget?": budget,
    ...selected,
  }),
  tool: type({
    tool_name: text(255),
    ...tool,
    "allowed_tools?": "string[]",
    "budget?": budget,
    ...checked,
  }),
  retrieval: type({
    "query?": "string",
    "collection?": "string",
    "top_k?": "1 <= number.integer <= 1000",
    "backend?": "'local' | 'httpx' | 'http' | 'index'",
    "filter?": object,
    "documents?": "unknown[]",
    ...checked,
    ...selected,
  }),
  sandbox: type({
    "code?": "string",
    "language?": "'python' | 'bash' | 'node' | 'javascript' | 'typescript'",
    "args?": "string[] <= 256",
    "stdin?": "string",
    "fail_on_nonzero?": "boolean",
    "timeout_seconds?": "0 < number <= 3600",
    "memory_mib?": "16 <= number.integer <= 1024",
    "env?": "Record<string, string>",
    "files?": "Record<string, string>",
    "outputs?": "string[] <= 100",
    "max_output_files?": "1 <= number.integer <= 1000",
    "max_output_mib?": "1 <= number.integer <= 64",
    ...checked,
    ...selected,
  }),
  approval: type({ "tool_name?": text(255), ...tool, "message?": "string" }),
  condition: type({ if: "string", "then?": "unknown[]", "else?": "unknown[]" }),
  loop: type({ steps: stepList, "max_iterations?": iterations }),
  parallel: type({
    steps: stepList,
    "for_each?": "string",
    "max_concurrency?": "1 <= number.integer <= 1000",
  }),
  workflow: type({ workflow: "string", "input?": object, ...selected }),
} satisfies Record<WorkflowStepType, unknown>;

export const workflowStepTypes = Object.keys(configShapes) as WorkflowStepType[];
