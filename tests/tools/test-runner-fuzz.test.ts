import { randomUUID } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { folderRecord } from "../support/folder-record.ts";
import { hostileInput, hostileString, rawByte, stringArguments } from "../support/hostile-input.ts";
import { RecordedServer, type Started } from "../support/recorded-server.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

/** More calls than the suite makes: FUZZ_RUNS=5000 npx vitest run tests/tools/test-runner-fuzz.test.ts */
const runs = Number(process.env["FUZZ_RUNS"] ?? 120);
const server = fileURLToPath(new URL("../../tools/test-runner/server.ts", import.meta.url));

const base = useTemporaryFolder();
const [root, outside, home, tmp] = ["root", "outside", "home", "tmp"].map((name) =>
  join(base, name),
) as [string, string, string, string];
const canary = `canary-${randomUUID()}`;
const startedFile = join(base, "started");

const plain = {
  repo: [...Array.from({ length: 8 }, () => "project"), ".", "linked", "project/way-out"],
  paths: [
    "a.test.js",
    "sub",
    "test_a.py",
    "main.go",
    "./a.test.js",
    "sub/",
    "--config=evil.js",
    "to-secret",
    "way-out",
  ],
  name: ["adds numbers", "a and b", "x"],
  runner: [],
  tool: [],
  command: ["hello"],
};
const programs = ["python3", "vitest", "jest", "node", "go", "cargo"];
const checkers = ["ruff", "eslint", "oxlint", "pyright", "mypy", "tsc"];

/** In the place of each program that the server may start; where no sandbox keeps it from that, it writes down how it was started. */
const standIn = `#!/bin/sh
{ printf '%s\\0' "$0" "$@"; printf '\\0'; } >> '${startedFile}'
touch ran 2>/dev/null
exit 1
`;

const options = ["--command", "hello=hello one two"];
const recordedServers: Record<"sandbox" | "none", RecordedServer> = {} as never;
let tools: Awaited<ReturnType<RecordedServer["start"]>>;
beforeAll(async () => {
  for (const folder of [root, outside, home, tmp]) mkdirSync(folder);
  writeFileSync(join(outside, "secret"), `${canary}\n`);
  writeFileSync(join(outside, canary), canary);
  writeFileSync(join(outside, "package.json"), JSON.stringify({ scripts: { test: canary } }));
  const project = join(root, "project");
  const bins = [root, outside].map((folder) => join(folder, ".venv", "bin"));
  for (const bin of bins) mkdirSync(bin, { recursive: true });
  mkdirSync(join(project, "sub"), { recursive: true });
  for (const name of [...programs, ...checkers, "hello"]) {
    for (const bin of bins) {
      writeFileSync(join(bin, name), standIn);
      chmodSync(join(bin, name), 0o755);
    }
  }
  for (const name of [
    "a.test.js",
    "test_a.py",
    "main.go",
    "go.mod",
    "Cargo.toml",
    "--config=evil.js",
  ]) {
    writeFileSync(join(project, name), "");
  }
  writeFileSync(join(project, "package.json"), "{}");
  symlinkSync(outside, join(project, "way-out"));
  symlinkSync(join(outside, "secret"), join(project, "to-secret"));
  symlinkSync(outside, join(root, "linked"));
  const start = async (folder: string, more: string[]) => {
    const made = new RecordedServer(
      join(base, folder),
      server,
      ["--root", root, ...options, ...more],
      { cwd: home, env: { HOME: home, TMPDIR: tmp } },
    );
    tools = await made.start();
    return made;
  };
  recordedServers.sandbox = await start("records", []);
  recordedServers.none = await start("records-none", ["--no-sandbox"]);
  // The toolchains are looked for once.
  for (const one of Object.values(recordedServers))
    await one.call("run_command", { command: "hello", repo: "project" });
});
afterAll(() => Promise.all(Object.values(recordedServers).map((one) => one.stop())));

/** The program of a run and its words, out of what the server started: a sandbox or a shell around it, and nothing else. */
function namedProgram({ program, args }: Started): string[] {
  const script = args.findIndex((word) => word.includes('"$@" 3>&-'));
  const outer = program.endsWith("/bwrap") ? "bwrap" : program;
  expect(["bwrap", "/bin/sh"]).toContain(outer);
  expect(args[script - 1]).toBe("-c");
  // Behind the script: its own name, the mark, how many reports there are, their folder, and the reports.
  const count = Number(args[script + 3]);
  return args.slice(script + 5 + count);
}

/** The words that a call without anything from a caller makes, and the options that a caller's word may be bound to. */
const ownFlags = new Set(
  (
    "-m -q --tb=short --color=no -pno:cacheprovider --override-ini=junit_family=xunit1 --cov " +
    "--includeTaskLocation --reporter=default --reporter=json --watch=false --coverage.enabled " +
    "--coverage.reporter=json-summary --coverage.reportOnFailure --ci --json --testLocationInResults --watchAll=false --cache=false --coverage " +
    "--coverageReporters=json-summary --runTestsByPath --test --test-reporter=spec --test-reporter-destination=stdout " +
    "--test-reporter=junit --experimental-test-coverage --test-reporter=lcov -json -cover --offline --no-fail-fast " +
    "--no-cache --no-fix --output-format=json --format=json --no-color --all-targets --message-format=json --quiet " +
    "--target-dir=/tmp/target --outputjson --output=json --no-color-output --no-error-summary --cache-dir=/dev/null " +
    "--noEmit --pretty"
  ).split(" "),
);
const bound =
  /^(?:-k|--(?:testNamePattern|test-name-pattern|run|junitxml|outputFile(?:\.json)?|cov-report|coverage\.reportsDirectory|coverageDirectory|test-reporter-destination)=)/;

function foreignOptions(words: readonly string[]): string[] {
  const end = words.indexOf("--");
  const before = end === -1 ? words : words.slice(0, end);
  return before.filter((word) => word.startsWith("-") && !ownFlags.has(word) && !bound.test(word));
}

/** Where a word leads that is the path of a project's file; the root for any other word. */
function leadsTo(word: string): string {
  try {
    return realpathSync(join(root, "project", word));
  } catch {
    return root;
  }
}

/** How often the stand-ins ran since the last time, and with which words. */
function takeRan(): string[][] {
  if (!existsSync(startedFile)) return [];
  const text = readFileSync(startedFile, "utf8");
  rmSync(startedFile);
  return text
    .split("\0\0")
    .filter(Boolean)
    .map((line) => line.split("\0"));
}

test("each string argument of each tool has a plain value to begin with, or a list of its own", () => {
  const named = tools.flatMap(({ inputSchema }) => stringArguments(inputSchema));
  expect(tools.length).toBe(5);
  expect([...new Set(named)].sort()).toEqual(Object.keys(plain).sort());
});

test(
  "whatever a caller says: nothing outside the root is read or written, and the named runner alone starts, its options ours [tests.hostile]",
  { timeout: 60_000 + runs * 1_000 },
  async () => {
    const hostile = hostileString(outside, Object.values(plain).flat());
    const call = fc.oneof(
      ...tools.map(({ name, inputSchema }) =>
        hostileInput(inputSchema, plain, hostile).map((input) => ({ name, input })),
      ),
    );
    const before = folderRecord(outside);
    // Toolchains put something there when they are first asked.
    const atHome = readdirSync(home);
    const there = new Set(Object.keys(folderRecord(root)));
    let [ran, refused] = [0, 0];
    type Box = "sandbox" | "none";
    const everyRunner = ["pytest", "vitest", "jest", "node", "go", "cargo"].map(
      (runner): [{ name: string; input: object }, Box] => [
        { name: "run_tests", input: { repo: "project", runner, coverage: true, name: "x" } },
        "none",
      ],
    );
    await fc.assert(
      fc.asyncProperty(
        call,
        fc.constantFrom<Box[]>("sandbox", "none"),
        async ({ name, input }, box) => {
          const recorded = recordedServers[box];
          recorded.takeStarted();
          takeRan();
          const answer = await recorded.call(name, input, rawByte);
          const started = recorded.takeStarted().map(namedProgram);
          expect(JSON.stringify(answer)).not.toContain(canary);
          expect(started.length).toBeLessThanOrEqual(1);
          const [words = []] = started;
          const [program = "", ...args] = words;
          if (started.length > 0) {
            ran += 1;
            expect(program.startsWith(join(root, ".venv", "bin")), program).toBe(true);
            expect(foreignOptions(args)).toEqual([]);
            expect(args.map(leadsTo).filter((path) => !`${path}/`.startsWith(`${root}/`))).toEqual(
              [],
            );
          } else refused += 1;
          // Without a sandbox the program itself tells that it was started once, with these very words.
          const standInsRan = takeRan();
          if (box === "none") expect(standInsRan).toEqual(started);
          expect(folderRecord(outside)).toEqual(before);
          expect(readdirSync(home)).toEqual(atHome);
          const made = Object.keys(folderRecord(root)).filter((path) => !there.has(path));
          expect(made.filter((path) => !/^(?:(?:project|project\/sub)\/)?ran$/.test(path))).toEqual(
            [],
          );
        },
      ),
      {
        numRuns: runs,
        // Chance seldom draws a good call with everything that our own options depend on.
        examples: everyRunner,
      },
    );
    expect(Math.min(ran, refused)).toBeGreaterThan(runs / 12);
  },
);
