import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const self = "tests/architecture/words.test.ts";
const files = globSync("{machines,actors,adapters,tools,cli,examples,tests,docs}/**/*.{ts,md}", {
  cwd: root,
})
  .concat("README.md", "CONTRIBUTING.md")
  .filter((path) => path !== self)
  .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));

const found = (word: RegExp) =>
  files.flatMap(({ path, text }) =>
    text.split("\n").flatMap((line, index) => (word.test(line) ? [`${path}:${index + 1}`] : [])),
  );

/** A word of ours that the field does not know, and the one that replaced it. */
const replaced: readonly [RegExp, string][] = [
  [/household/i, "worker context"],
  [/\bbirths?\b/i, "spawn request"],
  [/\bnursery\b/i, "spawner"],
  [/raiseStep/, "spawnStep"],
  [/StepLife|\blives: /, "StepSession"],
  [/\bunwound\b/, "settled pending work"],
  [/WorkScope|StepWork\b/, "ActivityScope, StepActivity"],
  [/\boccasion\b/i, "RetryStamp"],
  [/\bletGo\b|\blet go\b/, "abandon"],
  [/\b(?:un)?stow(?:ed)?\b/i, "offload, restore"],
  [/\bbur(?:y|ied)\b/i, "dead letter"],
  [/\bwearsOut\b|\bworn\b/, "failsTooOften, deliveredTooOften"],
  [/calledOff|called off\b/i, "cancelled"],
  [/\bunsound\b/i, "invalid"],
  [/hand(?:ed)?[- ]?back/i, "release"],
  [/onNews|StepNews/, "onStepEvent, StepEventNotice"],
  [/\blull\b|lullMs|\broomy\b|tellRoom/, "batchWaitMs, hasCapacity, announceCapacity"],
  [/new Trouble\b|sayProblem/, "CliError, printError"],
  [/the reference(?:'s)? (?:gateway|worker)|The reference\b/, "FerrumDeck"],
];

it.each(replaced)("%s is %s here", (word) => {
  expect(found(word)).toEqual([]);
});

it("no comment points to a document that is not in the repository", () => {
  expect(found(/DESIGN(?:\.md| section)|wire contract \d|features \d\./)).toEqual([]);
  const names = files.flatMap(({ path, text }) =>
    [...text.matchAll(/\bdocs\/[\w./-]+\.md\b/g)].map(([name]) => ({ path, name })),
  );
  const known = new Set(files.map(({ path }) => path));
  expect(names.filter(({ name }) => !known.has(name))).toEqual([]);
});

/*
 * A library that cleans up on a signal (signal-exit, under each file that is written atomically) ends the process where
 * nobody else listens. One who listens `once` is off the list by the time it looks.
 */
it("who listens to a signal goes on listening", () => {
  const shipped = found(/(?:process|\))\.once\("SIG/).filter((at) => !at.startsWith("tests/"));
  expect(shipped).toEqual([]);
});
