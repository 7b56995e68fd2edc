/**
 * npm run conformance -- [SCENARIO ...]
 *
 * Plays the scenarios of `@modelcontextprotocol/conformance` that each revision of the protocol requires, and the
 * extensions that we have: the client's against our tool host (client.ts), the servers' against our own (server.ts).
 * Prints a line a scenario: passed, failed, or why it does not apply. Exits 1 if one failed, or passed without a check.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

type Side = "client" | "server";

const suite = fileURLToPath(
  new URL("../../node_modules/@modelcontextprotocol/conformance/", import.meta.url),
);
const fileOf = (side: Side): string => fileURLToPath(new URL(`./${side}.ts`, import.meta.url));
const revisions = ["2025-11-25", "2026-07-28"] as const;

/** Scenarios that no revision requires, and that we mean to pass. */
const beside = ["auth/client-credentials-basic", "json-schema-2020-12-preservation"];

const noBrowser =
  "the authorization code grant needs a person at a browser, which a worker has not: it has the client credentials grant";
const noElicitation =
  "a server of the handshake asks while its call is open, and a person's answer takes longer: refused; a stateless server's question is an approval request";
/** Why a scenario does not apply to our servers, whose tools give text and structured content. */
const notServed: readonly [RegExp, string][] = [
  [
    /^resources-|^prompts-|^completion-/,
    "our servers have tools, and neither resources nor prompts",
  ],
  [/logging/, "our servers send no log messages to the client"],
  [/image|audio|embedded|mixed/, "our tools give text and structured content"],
  [
    /sampling|elicitation|input-required/,
    "our tools ask neither the person nor the model anything",
  ],
  [/progress/, "a tool of ours tells progress every five seconds, and the suite's ends sooner"],
  [/sse/, "our servers speak over standard streams: how HTTP streams is not theirs"],
];
/** Checks of a scenario that want a tool or a method that our servers have not; its other checks must pass. */
const notChecked = new Set([
  "sep-2575-server-rejects-undeclared-capability",
  "sep-2575-missing-capability-http-400",
  "sep-2575-http-server-no-independent-requests-on-stream",
  "sep-2575-server-no-log-without-loglevel",
  "sep-2549-resources-list-caching-hints",
  "sep-2549-resources-templates-list-caching-hints",
  "sep-2549-prompts-list-caching-hints",
]);

/** Why a scenario does not apply: to a client that calls tools for a worker, or to a server of ours. */
function whyNot(side: Side, scenario: string): string | null {
  if (side === "server") return notServed.find(([name]) => name.test(scenario))?.[1] ?? null;
  if (scenario === "auth/pre-registration" || scenario === "auth/client-credentials-basic") {
    return null;
  }
  if (scenario.startsWith("auth/")) return noBrowser;
  if (scenario === "elicitation-sep1034-client-defaults") return noElicitation;
  return null;
}

interface Line {
  isPassed: boolean;
  /** `checks passed/checks`, as the suite counts them. */
  checks: string;
  why: string | null;
}

async function play(side: Side, revision: string, scenario: string, url: string): Promise<Line> {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-conformance-"));
  const subject =
    side === "client"
      ? ["--command", `${process.execPath} ${fileOf("client")}`]
      : ["--url", url, "--timeout", "20000"];
  const args = [
    join(suite, "dist/index.js"),
    side,
    ...subject,
    "--scenario",
    scenario,
    "--spec-version",
    revision,
    // Extensions belong to no revision, and would be left out.
    ...(beside.includes(scenario) ? ["--force"] : []),
    "--output-dir",
    folder,
  ];
  const { hasEnded, text } = await new Promise<{ hasEnded: boolean; text: string }>((resolve) => {
    execFile(process.execPath, args, { timeout: 90_000 }, (error, stdout, stderr) =>
      resolve({ hasEnded: error === null, text: `${stdout}${stderr}` }),
    );
  });
  const failed = await failedChecks(folder);
  await rm(folder, { recursive: true, force: true });
  const checks = /Passed: (\d+\/\d+)/u.exec(text)?.[1] ?? "-";
  const isPartly = failed.length > 0 && failed.every((id) => notChecked.has(id));
  // Without a check, nothing was played.
  const isPassed = (hasEnded || isPartly) && !/^(?:-|0\/)/.test(checks);
  return { isPassed, checks, why: whyNot(side, scenario) };
}

async function failedChecks(folder: string): Promise<string[]> {
  const files = await readdir(folder, { recursive: true });
  const reports = files.filter((file) => file.endsWith("checks.json"));
  const texts = await Promise.all(reports.map((file) => readFile(join(folder, file), "utf8")));
  return texts
    .flatMap((text) => JSON.parse(text) as { id: string; status: string }[])
    .filter(({ status }) => status === "FAILURE")
    .map(({ id }) => id);
}

const asked = process.argv.slice(2);
const lines: Line[] = [];
const front = spawn(process.execPath, [fileOf("server")], { stdio: ["ignore", "pipe", "inherit"] });
const [address] = (await once(front.stdout, "data")) as [Buffer];
try {
  for (const revision of revisions) {
    const file = await readFile(join(suite, `requirements/${revision}.yaml`), "utf8");
    const required = parse(file) as Record<Side, string[]>;
    const scenarios = [
      ...[...required.client, ...beside].map((scenario) => ["client", scenario] as const),
      ...required.server.map((scenario) => ["server", scenario] as const),
    ];
    for (const [side, scenario] of scenarios) {
      if (asked.length > 0 && !asked.includes(scenario) && !asked.includes(side)) continue;
      const line = await play(side, revision, scenario, String(address).trim());
      lines.push(line);
      const { isPassed, checks, why } = line;
      const word = isPassed ? "passed" : why === null ? "FAILED" : "does not apply";
      const reason = isPassed || why === null ? "" : `  ${why}`;
      process.stdout.write(
        `${revision}  ${side}  ${scenario.padEnd(45)} ${checks.padStart(6)}  ${word}${reason}\n`,
      );
    }
  }
} finally {
  front.kill();
}
const count = (is: (line: Line) => boolean): number => lines.filter(is).length;
const failed = count(({ isPassed, why }) => !isPassed && why === null);
process.stdout.write(
  `\n${count(({ isPassed }) => isPassed)} passed, ${failed} failed, ${count(({ isPassed, why }) => !isPassed && why !== null)} do not apply\n`,
);
process.exit(failed === 0 ? 0 : 1);
