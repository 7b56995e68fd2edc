import { cutText } from "../text.ts";
import { isJsonObject, type Json } from "../json.ts";

/** One text of a call's arguments. */
export interface Leaf {
  /** The nearest key above it, in lower case and without `_` and `-`: `repoPath` and `repo_path` are the same. */
  key: string;
  /** Where it is, for a person: `files[2].content`. */
  at: string;
  text: string;
}

/** Every text of the arguments, keys among them: a command may stand on either side. */
export function leavesOf(input: Json): Leaf[] {
  const leaves: Leaf[] = [];
  const open: { key: string; at: string; value: Json }[] = [{ key: "", at: "", value: input }];
  // By a list of what is still to be looked at: arguments come from outside, and may be deeper than a stack.
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    const { key, at, value } = one;
    if (typeof value === "string") leaves.push({ key, at, text: value });
    else if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) {
        open.push({ key, at: at.length > 200 ? at : `${at}[${index}]`, value: item });
      }
    } else if (isJsonObject(value)) {
      for (const [name, item] of Object.entries(value)) {
        const path = at === "" ? name : at.length > 200 ? at : `${at}.${cutText(name, 100)}`;
        if (/[^\w.-]/u.test(name)) leaves.push({ key: "", at: path, text: name });
        open.push({ key: name.toLowerCase().replaceAll(/[_-]/gu, ""), at: path, value: item });
      }
    }
  }
  return leaves.toReversed();
}

const words = (names: string) => new RegExp(`(?:^|[_./-])(?:${names})(?=[_./-]|$)`, "u");

const runs = words(
  "bash|sh|zsh|shell|exec|execute|terminal|powershell|pwsh|cmd|command|commands|script|repl|run|eval|python|node|ssh",
);
const reaches = words(
  "http|https|fetch|curl|wget|request|requests|webhook|webhooks|download|upload|browse|browser|navigate|goto|scrape|crawl|url|post|send|email|mail|publish|share|proxy",
);

/** Names in camelCase and snake_case alike. */
const spelled = (name: string) => name.replaceAll(/([a-z0-9])([A-Z])/gu, "$1_$2").toLowerCase();

/** Whether a tool's name says that it runs commands or code. */
export const isRunner = (name: string): boolean => runs.test(spelled(name));
/** Whether a tool's name says that it sends something to, or fetches something from, another host. */
export const isReaching = (name: string): boolean => reaches.test(spelled(name));

const commandKeys =
  /^(?:command|commands|cmd|script|shell|code|program|args|argv|bash|expression)$/u;

const searches = words("search|find|grep|rg|lookup|glob|match");
const writes = words("write|edit|replace|create|update|patch|apply|insert");
const searchKeys =
  /^(?:q|query|queries|question|pattern|patterns|regex|regexp|glob|globs|search|searchtext|searchterm|term|terms|needle|keyword|keywords|include|exclude)$/u;
/** Texts for people to read. */
const proseKeys = /^(?:title|subject|message|description|summary|comment|note|reason|question)$/u;
const tellers = words(
  "issue|issues|comment|comments|pull|pr|review|commit|email|mail|message|slack|chat|reply|translate|summarize",
);

/** Whether a text is what a tool looks for: a search for a command runs none. */
export const isLookedFor = (tool: string, key: string): boolean =>
  !commandKeys.test(key) &&
  ((searches.test(spelled(tool)) && !writes.test(spelled(tool))) ||
    (searchKeys.test(key) && !isRunner(tool)));

/** Whether a text is there to be read by people, by its name or its tool's. */
export const isProse = (tool: string, key: string): boolean =>
  proseKeys.test(key) || (tellers.test(spelled(tool)) && /^(?:body|text|content)$/u.test(key));

/** Whether what stands under a key of a tool's arguments is run. */
export const isCommandOf = (tool: string, key: string): boolean =>
  commandKeys.test(key) || isRunner(tool);
