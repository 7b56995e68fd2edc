import { parseArgs } from "node:util";
import { runFerrumDeck } from "./run-ferrumdeck.ts";
import { endWithNeed } from "../support/needs-redis.ts";

const usage = `npm run ferrumdeck -- [--runs 1000] [--workers 2] [--seed S] [--misanswered 0.08] [--limit SECONDS]

Runs many runs through real workers on a real Redis, against a stand-in for FerrumDeck's gateway that guards no
terminal state, behind a proxy that misanswers a share of the calls. Runs are cancelled, approved, rejected, expired,
delivered twice and again. Exits 1 if any run did not end as it had to, went on after its end, or had an effect too
often.
`;

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "1000" },
    workers: { type: "string", default: "2" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    misanswered: { type: "string", default: "0.08" },
    limit: { type: "string", default: "900" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}
const stopped = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stopped.abort());

process.stdout.write(`ferrumdeck: ${values.runs} runs, seed ${values.seed}\n`);
const report = await runFerrumDeck({
  runs: number("runs", values.runs, 1),
  workers: number("workers", values.workers, 1),
  seed: number("seed", values.seed, 0),
  misanswered: number("misanswered", values.misanswered, 0),
  limitMs: number("limit", values.limit, 1) * 1_000,
  onProgress: (line) => void process.stdout.write(`${line}\n`),
  signal: stopped.signal,
}).catch(endWithNeed);
const { before, after } = report.misanswered;
process.stdout.write(
  `${report.runs} runs in ${Math.round(report.ms / 1_000)} s; the proxy misanswered ${before} calls before and ${after} after the gateway acted; ${report.faults.length} faults\n`,
);
for (const fault of report.faults) process.stdout.write(`${fault}\n`);
process.exitCode = report.faults.length === 0 && !stopped.signal.aborted ? 0 : 1;

function number(name: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= least) return value;
  process.stderr.write(`--${name}: expected a number of at least ${least}, got "${text}"\n`);
  process.exit(2);
}
