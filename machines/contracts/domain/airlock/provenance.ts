import { isJsonObject, type Json, type JsonObject } from "../json.ts";
import { cutText } from "../text.ts";
import { hostsOf } from "./hosts.ts";
import { isCommandOf, leavesOf } from "./leaves.ts";

/*
 * Whether arguments were copied out of what tools brought, or out of documents that the step was given. What a page, a file or a mail says may have been written for
 * the model that reads it: a command, a recipient or a text that stands there, and not in the step's own task, is
 * somebody else's wish. Where it goes into a tool that changes something, a person is asked.
 *
 *   hosts         that a call goes to, or mail is sent to, and that only a tool's result names
 *   long texts    that stand in a result, letter by letter but for blanks, case and JSON's escapes
 *
 * Not looked at: names of files, which an agent has from listings whatever it does; and a text that goes back into the
 * file that it was read from. What a model says in words of its own is not found.
 *
 * Each text is read once, by a hash that rolls over it: in time and memory in proportion to all of them.
 */

export interface BroughtText {
  /** `server/tool`. */
  from: string;
  text: string;
  /** The files that the call was about. */
  files: readonly string[];
}

export interface Provenance {
  /** Where in the arguments. */
  at: string;
  from: string;
  /** What was copied, cut. */
  copied: string;
  characters: number;
}

/** Characters that must be alike, in a command and elsewhere: fewer are a common phrase. */
const shortest = { command: 32, text: 64 };
const gram = 32;
/** Characters of all that was brought that are looked at, the newest. */
const mostBrought = 1_000_000;
const mostHosts = 50;

const fileKeys = /(?:path|file|files|filename|uri|notebook|source|destination|folder|directory)$/u;

/**
 * What a step was given, by who wrote it: its task, which is trusted, and its documents and earlier tools' messages, which
 * a model reads as a stranger's words.
 */
export function givenIn(input: JsonObject): { trusted: string[]; brought: BroughtText[] } {
  const { documents, messages, ...own } = input;
  const said = listOf(messages);
  const isOfTool = (message: Json) => isJsonObject(message) && message["role"] === "tool";
  return {
    trusted: textsOf([own, ...said.filter((message) => !isOfTool(message))]),
    brought: [
      ...listOf(documents).map((document, at) => {
        const source = isJsonObject(document) ? document["source"] : null;
        const files = typeof source === "string" ? [source] : [];
        return { from: `document ${at + 1}`, text: textsOf(document).join("\n"), files };
      }),
      ...said.flatMap((message, at) =>
        isOfTool(message)
          ? [{ from: `message ${at + 1}`, text: textsOf(message).join("\n"), files: [] }]
          : [],
      ),
    ],
  };
}

const listOf = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? value : []);
const textsOf = (value: Json): string[] => leavesOf(value).map(({ text }) => text);

/** The files that a call's arguments name. */
export const filesOf = (input: JsonObject): string[] =>
  leavesOf(input).flatMap(({ key, text }) => (isFileName(key, text) ? [text] : []));

const isFileName = (key: string, text: string): boolean =>
  fileKeys.test(key) && text.length <= 512 && !/\n|:\/\//u.test(text);

/** As both sides are compared: JSON's escapes, blanks and case are no difference. */
const folded = (text: string): string =>
  text
    .replaceAll(/\\[nrt]/gu, " ")
    .replaceAll(/\\(["\\/])/gu, "$1")
    .replaceAll(/\s+/gu, " ")
    .toLowerCase();

/**
 * The first argument that was copied; null for none.
 *
 * @param trusted what the step itself was asked: what stands there too was not copied
 */
export function provenanceOf(
  tool: string,
  input: JsonObject,
  brought: readonly BroughtText[],
  trusted: readonly string[],
): Provenance | null {
  if (brought.length === 0) return null;
  const files = new Set(filesOf(input));
  const texts = newest(brought).map((one) => ({ ...one, text: folded(one.text) }));
  const own = folded(trusted.join("\n"));
  const leaves = leavesOf(input).filter(({ key, text }) => !isFileName(key, text));
  const hosts = leaves.flatMap((leaf) => hostsOf(tool, leaf)).filter((_, at) => at < mostHosts);
  for (const { host, at } of hosts) {
    const name = host.toLowerCase();
    if (name.length < 4 || own.includes(name)) continue;
    const source = texts.findLast(({ text }) => text.includes(name));
    if (source !== undefined) {
      return { at, from: source.from, copied: cutText(host, 80), characters: name.length };
    }
  }
  const args = leaves
    .map(({ key, at, text }) => {
      const least = isCommandOf(tool, key) ? shortest.command : shortest.text;
      return { at, text: folded(text), least };
    })
    .filter(({ text, least }) => text.length >= least);
  if (args.length === 0) return null;
  const wanted = new Set(args.flatMap(({ text }) => gramsOf(text)));
  for (const known of gramsOf(own)) wanted.delete(known);
  const seen = new Map<number, string>();
  for (const { from, text, files: about } of texts) {
    if (about.some((file) => files.has(file))) continue;
    roll(text, (hash) => {
      if (wanted.has(hash) && !seen.has(hash)) seen.set(hash, from);
    });
  }
  for (const { at, text, least } of args) {
    const found = longestRun(text, seen);
    if (found === null || found.characters < least) continue;
    const { from, start, characters } = found;
    return { at, from, characters, copied: cutText(text.slice(start, start + characters), 80) };
  }
  return null;
}

function newest(brought: readonly BroughtText[]): BroughtText[] {
  const kept: BroughtText[] = [];
  let left = mostBrought;
  for (const one of brought.toReversed()) {
    if (left <= 0) break;
    kept.push({ ...one, text: one.text.slice(0, left) });
    left -= one.text.length;
  }
  return kept.toReversed();
}

function longestRun(text: string, seen: ReadonlyMap<number, string>) {
  let best: { from: string; start: number; characters: number } | null = null;
  let start = -1;
  let at = 0;
  roll(text, (hash) => {
    const from = seen.get(hash);
    if (from === undefined) start = -1;
    else {
      if (start < 0) start = at;
      const characters = at - start + gram;
      if (best === null || characters > best.characters) best = { from, start, characters };
    }
    at += 1;
  });
  return best as { from: string; start: number; characters: number } | null;
}

function gramsOf(text: string): number[] {
  const grams: number[] = [];
  roll(text, (hash) => void grams.push(hash));
  return grams;
}

const bases = [0x01000193, 0x5bd1e995] as const;
const leaving = bases.map((base) => {
  let power = 1;
  for (let n = 0; n < gram; n++) power = Math.imul(power, base);
  return power;
}) as [number, number];

/** Tells the hash of each `gram` characters in a row, in their order; two hashes in one number, which nothing collides in. */
function roll(text: string, tell: (hash: number) => void): void {
  let one = 0;
  let other = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at) + 1;
    one = (Math.imul(one, bases[0]) + unit) | 0;
    other = (Math.imul(other, bases[1]) + unit) | 0;
    if (at >= gram) {
      const gone = text.charCodeAt(at - gram) + 1;
      one = (one - Math.imul(leaving[0], gone)) | 0;
      other = (other - Math.imul(leaving[1], gone)) | 0;
    }
    if (at >= gram - 1) tell((one >>> 0) * 0x20_0000 + ((other >>> 0) & 0x1f_ffff));
  }
}

export const reasonOfProvenance = ({ at, from, copied, characters }: Provenance): string =>
  `${at === "" ? "an argument" : `the argument ${at}`} was copied out of what ${from} brought, and the task does not say it (${characters} characters: "${copied}")`;
