import type { ReplayEnd, ReplayEvent } from "../../actors/replay/plan.ts";
import { isJsonObject, type Json } from "../../machines/contracts/domain/json.ts";
import { toolLabel } from "../../machines/contracts/domain/tool-lists.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { Output } from "../output/output.ts";
import { failureText } from "../output/errors.ts";
import { plain } from "../output/plain.ts";

const shownLength = 100;

/** Prints what happens in a replay as it happens: a line each for people, a document each with `--json`. */
export function replayTeller(output: Output): (event: ReplayEvent) => void {
  return (event) => {
    if (output.isJson) output.json(event);
    else output.line(lineOf(event, output));
  };
}

function lineOf(event: ReplayEvent, { colors }: Output): string {
  switch (event.type) {
    case "state":
      return colors.bold(event.state);
    case "verdict": {
      const { kind, name, server = null } = event.action;
      const what = kind === "tool" ? toolLabel({ server, name }) : `${kind} ${name}`;
      return `  ${event.verdict.kind.padEnd(5)} ${plain(what)}: ${plain(event.verdict.reason)}`;
    }
    case "approval":
      return `  asked ${plain(event.action.name)}: ${event.answer}`;
    case "forked": {
      const why = event.differs.length === 0 ? "" : `: ${event.differs.join(", ")}`;
      return colors.bold(`  from effect ${event.number} on this replay goes its own way${why}`);
    }
    case "effect": {
      const { number, effect, how, differs } = event;
      const which = String(number).padStart(3);
      const differ =
        differs.length === 0 ? "" : ` (${differs.join(", ")} differ from the recording)`;
      return `${which} ${plain(effect).padEnd(14)} ${how.padEnd(8)} ${whatHappened(event)}${differ}`;
    }
  }
}

function whatHappened({ kind, input, outcome }: Extract<ReplayEvent, { type: "effect" }>): string {
  const { value, failure } = (outcome ?? {}) as { value?: Json; failure?: Json };
  if (isJsonObject(failure)) return shown(`failed: ${String(failure["message"])}`);
  if (kind === "model" && isJsonObject(value)) return shown(ofReply(value));
  const given = isJsonObject(input) ? (input["input"] ?? null) : null;
  const asked = given === null ? "" : `${JSON.stringify(given)} → `;
  const content = isJsonObject(value) ? (value["content"] ?? value["result"] ?? value) : value;
  return shown(`${asked}${typeof content === "string" ? content : JSON.stringify(content)}`);
}

function ofReply({ reply, tooLong }: { [key: string]: Json }): string {
  if (!isJsonObject(reply)) return tooLong === undefined ? "" : "the conversation was too long";
  const calls = Array.isArray(reply["toolCalls"]) ? reply["toolCalls"].filter(isJsonObject) : [];
  if (calls.length === 0) return `answers ${JSON.stringify(reply["content"] ?? "")}`;
  const each = calls.map((call) => `${String(call["name"])} ${JSON.stringify(call["arguments"])}`);
  return `calls ${each.join(", ")}`;
}

const shown = (text: string): string => plain(cutText(text, shownLength));

/** How the replay came out, in a sentence or two for a person. */
export function endOf(end: ReplayEnd, isChanged: boolean): string[] {
  const { result, stoppedBecause, served, made, refused, differences } = end;
  const effects = `effects: ${served} served, ${made} made, ${refused} refused`;
  const outcome =
    result === null
      ? `the replay stops here: ${stoppedBecause ?? "the step gave no result"}`
      : result.status === "completed"
        ? "the step completed"
        : `the step failed: ${failureText(result.failure.kind, result.failure.message)}`;
  const asRecorded =
    result !== null && !isChanged && differences.length === 0 ? ", as recorded" : "";
  return [
    `${plain(outcome)}${asRecorded}; ${effects}`,
    ...differences.map((difference) => `  ${plain(difference)}`),
  ];
}

/** 0 for a walk that went as it should: as recorded; with a change, the step completed and nothing was refused. */
export function exitCodeOf(end: ReplayEnd, isChanged: boolean): number {
  if (!isChanged) return end.differences.length > 0 ? 1 : 0;
  return end.result?.status === "completed" && end.refused === 0 ? 0 : 1;
}
