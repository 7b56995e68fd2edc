import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

/**
 * Two habits that look harmless and are not, where the text may be somebody else's: a cut at a number of UTF-16 units
 * splits an emoji, and strict readers then refuse the whole body; `JSON.parse` rounds an id of 17 digits and takes any
 * depth. `cutText` and `parseJson` are there instead.
 */
const root = join(import.meta.dirname, "../..");
const lines = globSync("{machines,actors,adapters,cli,tools}/**/*.ts", { cwd: root }).flatMap(
  (path) =>
    readFileSync(join(root, path), "utf8")
      .split("\n")
      .map((line, index, all) => ({
        at: `${path}:${index + 1}`,
        path,
        line,
        next: all[index + 1] ?? "",
      })),
);

it("what is foreign is cut at a character", () => {
  const cuts = lines.filter(({ line }) =>
    /\.(?:slice|substring|substr)\(0, (?:\d{2,}|longest|most|max)/.test(line),
  );
  /** A digest's own characters; a list; visible ASCII; and tools, which import nothing of ours. */
  const harmless = /digest|hash|sha256|tamed|names\.slice|replaceAll\(\/\[\^|toWellFormed/;
  const raw = cuts.filter(
    ({ line, next, path }) => !harmless.test(line + next) && !path.endsWith("/text.ts"),
  );
  expect(raw.map(({ at, line }) => `${at}: ${line.trim()}`)).toEqual([]);
});

it("what is foreign is read by parseJson", () => {
  /** Files that read what this project wrote itself, what is configuration, or what is looked at exactly afterwards. */
  const own = [
    "actors/step/effects.ts",
    "adapters/console/page/inspect-stately.ts",
    "adapters/console/page/inspect-store.ts",
    "adapters/control-plane/embedded/rows.ts",
    "adapters/control-plane/embedded/workflows/tables.ts",
    "adapters/mcp/bounded-http.ts",
    "adapters/mcp/child-transport.ts",
    "adapters/mcp/config.ts",
    "adapters/redis/server-note.ts",
    "adapters/telemetry/log.ts",
    "cli/config/config-file.ts",
    "cli/dev-note.ts",
    "cli/start-anew.ts",
    "machines/contracts/domain/job.ts",
    "machines/contracts/domain/json-text.ts",
    "machines/contracts/domain/json.ts",
    "machines/contracts/wire/record-text.ts",
    "tools/test-runner/json.ts",
  ];
  const raw = lines.filter(({ line, path }) => /JSON\.parse\(/.test(line) && !own.includes(path));
  expect(raw.map(({ at, line }) => `${at}: ${line.trim()}`)).toEqual([]);
});

it("no statement of SQL numbers its parameters: the oldest Node that we run on binds none of them", () => {
  const numbered = lines.filter(
    ({ line }) => /[\s(=]\?\d/.test(line) && /\b[A-Z]{3,}\b/.test(line),
  );
  expect(numbered.map(({ at, line }) => `${at}: ${line.trim()}`)).toEqual([]);
});
