import type { Job } from "../../machines/contracts/domain/job.ts";
import { llmInput, readMessages } from "../../machines/contracts/domain/step-input.ts";
import { type BroughtText, filesOf } from "../../machines/contracts/domain/airlock/provenance.ts";
import { toolLabel } from "../../machines/contracts/domain/tool-lists.ts";
import type { CallResult, Turn } from "../../machines/agent-loop/context.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { markingNote } from "../../machines/contracts/domain/screening/marking.ts";
import { marked } from "./incoming.ts";
import { isFoldable } from "../../machines/agent-loop/rules.ts";
import type { ModelMessage } from "../../machines/contracts/ports/model-provider.ts";

/** The messages a step's input stands for: explicit ones, a task, or a prompt. */
export function toMessages(
  job: Job,
  hasTools = false,
  documents: string | null = null,
): ModelMessage[] {
  const input = llmInput().assert(job.input);
  const text = input.task ?? input.prompt ?? input.content;
  const asked: ModelMessage[] = readMessages(input.messages) ?? [
    { role: "user", content: text ?? `Process this input: ${inputAsText(job)}` },
  ];
  // Said wherever something comes from outside.
  const note = hasTools || documents !== null ? markingNote : null;
  const system = [input.system_prompt, note, schemaInstruction(input.output_schema)].filter(
    Boolean,
  );
  return [
    ...(system.length === 0 ? [] : [{ role: "system" as const, content: system.join("\n\n") }]),
    ...asked,
    ...(documents === null ? [] : [{ role: "user" as const, content: documents }]),
  ];
}

/** Documents stand in a message of their own. */
function inputAsText({ input }: Job): string {
  const { documents: _, ...rest } = input;
  return JSON.stringify(rest);
}

/** Told to every model, for not every provider holds its models to a schema; null where none is asked for. */
function schemaInstruction(schema: object | null | undefined): string | null {
  if (!schema) return null;
  return `Answer with JSON alone, without any text around it. It must match this JSON Schema:\n${JSON.stringify(schema)}`;
}

/** The turns of a loop as its model is shown them; the results of the first `folded` ones are left out where long. */
export function turnMessages(turns: readonly Turn[], folded: number): ModelMessage[] {
  return turns.flatMap(({ reply, results, mostShown }, at): ModelMessage[] => [
    {
      role: "assistant",
      content: reply.content,
      ...callsOf(reply, results.length > 0),
    },
    ...results.map((result, place): ModelMessage => ({
      role: "tool",
      toolCallId: reply.toolCalls[place]?.id ?? "",
      content:
        at < folded && isFoldable(result.content)
          ? foldedContent(result)
          : asData(result, cutContent(result, mostShown), reply.toolCalls[place]?.id ?? ""),
      ...(result.error === null ? {} : { isError: true }),
    })),
  ]);
}

/**
 * Calls that got no results were made when none were asked for: no provider takes a call without a result, and what it
 * wants to see again of such a turn holds the calls.
 */
function callsOf({ toolCalls, echo }: Turn["reply"], haveResults: boolean) {
  const isShown = haveResults || toolCalls.length === 0;
  return {
    ...(haveResults ? { toolCalls } : {}),
    ...(echo === undefined || !isShown ? {} : { echo }),
  };
}

/** What the tools of these turns brought, errors in their words too. */
export const broughtBy = (turns: readonly Turn[]): BroughtText[] =>
  turns.flatMap(({ reply, results }) =>
    results.flatMap(({ ran, server, tool, content }, at) =>
      ran
        ? [
            {
              from: toolLabel({ server, name: tool }),
              text: content,
              files: filesOf(reply.toolCalls[at]?.arguments ?? {}),
            },
          ]
        : [],
    ),
  );

function foldedContent({ content }: CallResult): string {
  return `[A result of ${content.length} characters was left out here to make room. Call the tool again if it is needed.]`;
}

/** What a tool said is marked as such; why it was not called is said by us. */
function asData(
  { tool, server, ran, screening }: CallResult,
  text: string,
  callId: string,
): string {
  if (!ran) return text;
  return marked(text, server === null ? tool : `${server}/${tool}`, screening, callId);
}

/** The beginning and the end of a result that has no room beside the others of its turn. */
function cutContent({ content, artifact }: CallResult, most = Number.POSITIVE_INFINITY): string {
  if (content.length <= most) return content;
  const ending = Math.floor(most / 5);
  const begin = cutText(content, most - ending);
  const end = content.slice(content.length - ending).toWellFormed();
  const where =
    artifact === undefined
      ? "call the tool again for a part of it"
      : `all of it is kept as artifact ${String(artifact["id"])}`;
  return `${begin}\n[${content.length - most} characters are left out here to make room; ${where}]\n${end}`;
}

/** The user's words that end a loop which met a bound. */
export const lastAnswer = (why: "capped" | "stuck"): ModelMessage => ({
  role: "user",
  content: `${
    why === "capped"
      ? "No more tools can be called: the limit of this task is reached."
      : "The last calls brought nothing new, so no more tools can be called."
  } Answer now with what you know, and say what is missing.`,
});

/** What a model is told of an answer that was not accepted. */
export const repairMessage = (note: string): ModelMessage => ({
  role: "user",
  content: `The last answer was not accepted: ${note}. Answer again, corrected.`,
});
