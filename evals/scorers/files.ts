import { type } from "arktype";
import { matchesGlob } from "../../machines/contracts/domain/glob.ts";
import type { EvalTask, ScoreGiven } from "../contracts.ts";
import type { ScorerType } from "./registry.ts";

/**
 * Whether a path is what a pattern says, part by part: `*` and `?` stay within a folder, `**` is any number of folders.
 * In time bounded by the product of both lengths.
 */
export function matchesPath(pattern: string, path: string): boolean {
  const wanted = pattern.replace(/^\.\//u, "").split("/");
  const given = path.replace(/^\.\//u, "").split("/");
  /** Which beginnings of the path the pattern's parts so far are. */
  let reached = new Set([0]);
  for (const part of wanted) {
    const next = new Set<number>();
    for (const at of reached) {
      if (part === "**") for (let to = at; to <= given.length; to += 1) next.add(to);
      else if (at < given.length && matchesGlob(part, given[at] ?? "")) next.add(at + 1);
    }
    reached = next;
  }
  return reached.has(given.length);
}

/** A list of texts, or one; null for what is neither. */
export function textsOf(value: unknown): string[] | null {
  if (typeof value === "string") return [value];
  const isList = Array.isArray(value) && value.every((one) => typeof one === "string");
  return isList ? (value as string[]) : null;
}

/** Every pattern must be met by a path; with `strict`, every path by a pattern too. */
export function judgePaths(
  patterns: readonly string[],
  paths: readonly string[],
  done: string,
  strict: boolean,
): ScoreGiven {
  const missing = patterns.filter((pattern) => !paths.some((path) => matchesPath(pattern, path)));
  const extra = paths.filter((path) => !patterns.some((pattern) => matchesPath(pattern, path)));
  const found = patterns.length - missing.length;
  const ratio = patterns.length === 0 ? 1 : found / patterns.length;
  const isTooMuch = strict && extra.length > 0;
  const parts = [`${found} of ${patterns.length} expected files were ${done}`];
  if (missing.length > 0) parts.push(`not ${missing.join(", ")}`);
  if (isTooMuch) parts.push(`beside them ${extra.join(", ")}`);
  return {
    score: isTooMuch ? ratio / 2 : ratio,
    passed: missing.length === 0 && !isTooMuch,
    message: `${parts.join("; ")}.`,
    details: { missing, extra },
  };
}

const strictly = type({ "strict?": "boolean" });

const filesChanged: ScorerType<typeof strictly.infer> = {
  shape: strictly,
  make: ({ strict = false }) => ({
    name: "files_changed",
    reads: ["files_changed"],
    needs: ["files"],
    applies: ({ expected }) => textsOf(expected["files_changed"]) !== null,
    score({ expected }, { files }) {
      const { changed = [], created = [], deleted = [] } = files ?? {};
      const patterns = textsOf(expected["files_changed"]) ?? [];
      return judgePaths(patterns, [...changed, ...created, ...deleted], "changed", strict);
    },
  }),
};

/** What should be made: patterns; `true` where any file will do. */
const wantedFiles = ({ expected }: EvalTask): readonly string[] | boolean => {
  const many = textsOf(expected["files_created"]);
  if (many !== null) return many;
  const one = expected["file_created"];
  return textsOf(one) ?? one === true;
};

const filesCreated: ScorerType<typeof strictly.infer> = {
  shape: strictly,
  make: ({ strict = false }) => ({
    name: "files_created",
    reads: ["files_created", "file_created"],
    needs: ["files"],
    applies: (task) => wantedFiles(task) !== false,
    score(task, { files }) {
      const created = files?.created ?? [];
      const wanted = wantedFiles(task);
      if (typeof wanted !== "boolean") return judgePaths(wanted, created, "created", strict);
      const passed = created.length > 0;
      const message = passed ? `${created.join(", ")} was created.` : "No file was created.";
      return { score: passed ? 1 : 0, passed, message };
    },
  }),
};

export const fileScorers = { files_changed: filesChanged, files_created: filesCreated };
