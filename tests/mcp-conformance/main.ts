/**
 * npm run conformance -- [SCENARIO ...]
 *
 * Plays the client scenarios of `@modelcontextprotocol/conformance` against our tool host (client.ts), those that each
 * revision of the protocol requires and the extensions that we have, and prints a line a scenario: passed, failed, or
 * why it does not apply. Exits 1 if one failed, or passed that is said not to apply.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const suite = fileURLToPath(
  new URL("../../node_modules/@modelcontextprotocol/conformance/", import.meta.url),
);
const client = fileURLToPath(new URL("./client.ts", import.meta.url));
const revisions = ["2025-11-25", "2026-07-28"] as const;

/** Scenarios that no revision requires, and that we mean to pass. */
const beside = ["auth/client-credentials-basic", "json-schema-2020-12-preservation"];

const noBrowser =
  "the authorization code grant needs a person at a browser, which a worker has not: it has the client credentials grant";
const noElicitation =
  "a server of the handshake asks while its call is open, and a person's answer takes longer: refused; a stateless server's question is an approval request";
/** Why a scenario does not apply to a client that calls tools for a worker. */
function whyNot(scenario: string): string | null {
  if (scenario === "auth/pre-registration" || scenario === "auth/client-credentials-basic") {
    return null;
  }
  if (scenario.startsWith("auth/")) return noBrowser;
  if (scenario === "elicitation-sep1034-client-defaults") return noElicitation;
  return null;
}

interface Line {
  revision: string;
  scenario: string;
  isPassed: boolean;
  /** `checks passed/checks`, as the suite counts them. */
  checks: string;
  why: string | null;
}

async function play(revision: string, scenario: string, folder: string): Promise<Line> {
  const args = [
    join(suite, "dist/index.js"),
    "client",
    "--command",
    `${process.execPath} ${client}`,
    "--scenario",
    scenario,
    "--spec-version",
    revision,
    // Extensions belong to no revision, and would be left out.
    ...(beside.includes(scenario) ? ["--force"] : []),
    "--output-dir",
    folder,
  ];
  const { isPassed, text } = await new Promise<{ isPassed: boolean; text: string }>((resolve) => {
    execFile(process.execPath, args, { timeout: 90_000 }, (error, stdout, stderr) =>
      resolve({ isPassed: error === null, text: `${stdout}${stderr}` }),
    );
  });
  const checks = /Passed: (\d+\/\d+)/u.exec(text)?.[1] ?? "-";
  // Without a check, nothing was played.
  return {
    revision,
    scenario,
    isPassed: isPassed && checks !== "-",
    checks,
    why: whyNot(scenario),
  };
}

const asked = process.argv.slice(2);
const folder = await mkdtemp(join(tmpdir(), "stateplane-conformance-"));
const lines: Line[] = [];
for (const revision of revisions) {
  const file = await readFile(join(suite, `requirements/${revision}.yaml`), "utf8");
  const { client: required } = parse(file) as { client: string[] };
  for (const scenario of [...required, ...beside]) {
    if (asked.length > 0 && !asked.includes(scenario)) continue;
    const line = await play(revision, scenario, folder);
    lines.push(line);
    const { isPassed, checks, why } = line;
    const word = isPassed ? "passed" : why === null ? "FAILED" : "does not apply";
    const reason = isPassed || why === null ? "" : `  ${why}`;
    process.stdout.write(
      `${revision}  ${scenario.padEnd(40)} ${checks.padStart(6)}  ${word}${reason}\n`,
    );
  }
}
await rm(folder, { recursive: true, force: true });
const count = (is: (line: Line) => boolean): number => lines.filter(is).length;
const failed = count(({ isPassed, why }) => !isPassed && why === null);
process.stdout.write(
  `\n${count(({ isPassed }) => isPassed)} passed, ${failed} failed, ${count(({ isPassed, why }) => !isPassed && why !== null)} do not apply\n`,
);
process.exit(failed === 0 ? 0 : 1);
