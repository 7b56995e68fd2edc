import { type Failure, terminal } from "../../machines/contracts/domain/failure.ts";
import {
  isJsonObject,
  type Json,
  type JsonObject,
  withOwnNames,
} from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { removeHidden } from "../../machines/contracts/domain/screening/hidden-characters.ts";
import { findInjection, flaggedFrom } from "../../machines/contracts/domain/screening/injection.ts";
import { markExternal } from "../../machines/contracts/domain/screening/marking.ts";
import type { Finding } from "../../machines/contracts/domain/screening/output-rules.ts";
import type { ScreeningOptions } from "../options.ts";
import { digestOf } from "../step/approvals.ts";

/*
 * What goes into a model. Three kinds of text, by who wrote it:
 *
 *   the agent's own      its system prompt                         as it is
 *   the user's           task, prompt, content, messages           looked at for orders nobody meant: told, or refused
 *   from outside         tools' results and errors, documents      looked at, hidden characters taken out, and marked
 */

type Incoming = Pick<ScreeningOptions, "injection" | "hiddenCharacters">;

export interface ScreenedText {
  /** What a model may be shown. */
  text: string;
  findings: readonly Finding[];
  isWithheld: boolean;
}

const none: readonly Finding[] = [];

/** Screens a text from outside. */
export function screenIncoming(given: string, options: Incoming, at: string): ScreenedText {
  const { text, removed } =
    options.hiddenCharacters === "remove" ? removeHidden(given) : { text: given, removed: 0 };
  const hidden: readonly Finding[] =
    removed === 0
      ? none
      : [{ rule: "hiddenCharacters", kind: "invisible", at, count: removed, action: "removed" }];
  if (options.injection === "off") return { text, findings: hidden, isWithheld: false };
  const { score, kinds } = findInjection(given);
  if (score < flaggedFrom) return { text, findings: hidden, isWithheld: false };
  const isWithheld = options.injection === "block";
  const found: Finding = {
    rule: "injection",
    kind: kinds.join("; "),
    at,
    count: kinds.length,
    action: isWithheld ? "withheld" : "reported",
  };
  return {
    text: isWithheld ? `[This text is withheld: it ${kinds.join(", ")}.]` : text,
    findings: [...hidden, found],
    isWithheld,
  };
}

/**
 * Screens every text of a document from outside: title, headings, source and other names are a stranger's, too. In most
 * nothing is found: their place is not written down, and they are not copied.
 */
export function screenDocument(
  given: JsonObject,
  options: Incoming,
  at: string,
): { document: JsonObject; findings: Finding[] } {
  const findings: Finding[] = [];
  const path: (string | number)[] = [];
  const text = (one: string): string => {
    const screened = screenIncoming(one, options, at);
    if (screened.findings.length === 0) return screened.text;
    const place = cutText(at + path.map((part) => `/${escaped(part)}`).join(""), 400);
    findings.push(...screened.findings.map((finding) => ({ ...finding, at: place })));
    return screened.text;
  };
  const screen = (value: Json): Json => {
    if (typeof value === "string") return text(value);
    if (Array.isArray(value)) {
      const items = value.map((item, index) => below(index, item));
      return items.every((item, index) => item === value[index]) ? value : items;
    }
    if (!isJsonObject(value)) return value ?? null;
    const names = Object.keys(value);
    let changed: [string, Json][] | null = null;
    names.forEach((key, index) => {
      const item = value[key] as Json;
      const name = text(key);
      const screened = below(key, item);
      if (name !== key || screened !== item) changed ??= Object.entries(value).slice(0, index);
      changed?.push([name, screened]);
    });
    return changed === null ? value : withOwnNames(changed);
  };
  const below = (part: string | number, value: Json): Json => {
    path.push(part);
    const screened = screen(value);
    path.pop();
    return screened;
  };
  return { document: screen(given) as JsonObject, findings };
}

const escaped = (part: string | number): string =>
  String(part).replaceAll("~", "~0").replaceAll("/", "~1");

/** What a marker says of a text that was flagged; null where it was not. */
export function warningOf(findings: readonly Finding[] = []): string | null {
  const flagged = findings.find(({ rule }) => rule === "injection");
  return flagged === undefined ? null : `reads like instructions: ${flagged.kind}`;
}

/** Marked with an id that depends on the text: whoever wrote it would have had to know it before. */
export const marked = (
  text: string,
  source: string,
  findings: readonly Finding[] | undefined,
  salt: string,
): string =>
  markExternal(text, {
    source,
    id: digestOf([salt, text]).slice(0, 16),
    warning: warningOf(findings),
  });

/** The user's words in an llm step's input, by their place. */
function* userTexts(input: JsonObject): Generator<[at: string, text: string]> {
  for (const key of ["task", "prompt", "content"]) {
    const text = input[key];
    if (typeof text === "string") yield [`/input/${key}`, text];
  }
  const { messages } = input;
  if (!Array.isArray(messages)) return;
  for (const [index, message] of messages.entries()) {
    if (!isJsonObject(message) || !["user", "tool"].includes(String(message["role"]))) continue;
    const { content } = message;
    const at = `/input/messages/${index}/content`;
    if (typeof content === "string") yield [at, content];
    if (!Array.isArray(content)) continue;
    for (const [place, part] of content.entries()) {
      const text = isJsonObject(part) ? part["text"] : null;
      if (typeof text === "string") yield [`${at}/${place}/text`, text];
    }
  }
}

export interface Prompt {
  findings: Finding[];
  /** The step's documents, marked, as a message of their own; null where there are none. */
  documents: string | null;
  /** Why the step must not go on with what it was given. */
  refused: Failure | null;
}

/** A document as a model reads it: where it comes from and what it is about, and then its text. */
function wholeOf({ content, headings, ...about }: JsonObject): string {
  const texts = (value: Json | undefined) =>
    (Array.isArray(value) ? value : [value]).filter((one) => typeof one === "string" && one !== "");
  const head = [
    ...["source", "title", "id"].map((key): [string, string] => [key, texts(about[key]).join("")]),
    ["headings", texts(headings).join(" > ")],
  ].flatMap(([key, text]) => (text === "" ? [] : [`${key}: ${text}`]));
  return [...head, "", String(content)].join("\n");
}

/** What an llm step's model is given, screened. */
export function readPrompt({ input, runId, stepId }: Job, options: Incoming): Prompt {
  const findings: Finding[] = [];
  for (const [at, text] of userTexts(input)) {
    if (options.injection === "off") break;
    const { score, kinds } = findInjection(text);
    if (score < flaggedFrom) continue;
    const action = options.injection === "block" ? "refused" : "reported";
    findings.push({ rule: "injection", kind: kinds.join("; "), at, count: kinds.length, action });
  }
  const refusal = findings.find(({ action }) => action === "refused");
  const documents = (Array.isArray(input["documents"]) ? input["documents"] : []).flatMap(
    (document, index) => {
      if (!isJsonObject(document) || typeof document["content"] !== "string") return [];
      const at = `/input/documents/${index}`;
      const { source, title, id, headings, content } = document;
      const shown = { source, title, id, headings, content } as JsonObject;
      // Each text by itself, so that none can put another between quotes, and then what they say together.
      const each = screenDocument(shown, options, at);
      const whole = wholeOf(each.document);
      const isFlagged = warningOf(each.findings) !== null;
      const screened = isFlagged ? null : screenIncoming(whole, options, at);
      const found = [...each.findings, ...(screened?.findings ?? [])];
      findings.push(...found);
      // Its own names stand inside the markers: on them there is nothing that a stranger wrote.
      const named = `document ${index + 1}`;
      return [marked(screened?.text ?? whole, named, found, `${runId}/${stepId}/${index}`)];
    },
  );
  return {
    findings,
    documents: documents.length === 0 ? null : documents.join("\n\n"),
    refused:
      refusal === undefined
        ? null
        : terminal(
            "policy_denied",
            `the step's input was blocked by screening: the text at ${refusal.at} ${refusal.kind}; set screening.injection to "warn" to let it through`,
            { screening_findings: findings as unknown as JsonObject[] },
          ),
  };
}

/** Why something is not given on, in words that don't say what was found. */
export function refusalOf(what: string, findings: readonly Finding[]): Failure {
  const refused = findings.filter(({ action }) => action === "refused");
  const named = [...new Set(refused.map(({ kind, at }) => `${kind} at ${at === "" ? "/" : at}`))];
  const message = `${what} is not given on, as the configuration's screening says: it holds ${named.slice(0, 5).join(", ")}`;
  return terminal("invalid_output", message, {
    screening_findings: refused as unknown as JsonObject[],
  });
}
