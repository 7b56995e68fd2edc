import { parseArgs } from "node:util";
import { type ChaosReport, runChaos } from "./run-chaos.ts";
import { endWithNeed } from "../support/needs-redis.ts";

const usage = `npm run chaos -- [--steps 10000] [--workers 3] [--seed S] [--limit SECONDS] [--json]

Runs steps through real workers on a real Redis while workers are killed and paused at random, Redis is
restarted and demoted once, and the control plane fails a tenth of its calls, is away once, and has a proxy before
it that answers some in its place. Exits 1 if any step's report was
applied twice or never, or an unsafe effect was repeated without a person's yes.
`;

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "10000" },
    workers: { type: "string", default: "3" },
    seed: { type: "string" },
    limit: { type: "string", default: "900" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}
const steps = count("steps", values.steps);
const workers = count("workers", values.workers);
const seed =
  values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : count("seed", values.seed);
const limitMs = count("limit", values.limit) * 1_000;

const notice = values.json ? process.stderr : process.stdout;
const stopped = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stopped.abort());

try {
  notice.write(`chaos: ${steps} steps, ${workers} workers, seed ${seed}\n`);
  const report = await runChaos({
    steps,
    workers,
    seed,
    limitMs,
    leaseMs: 3_000,
    blowMs: 1_500,
    awayMs: 10_000,
    onProgress: (line) => void notice.write(`${line}\n`),
    signal: stopped.signal,
  });
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : summary(report));
  const { duplicates, lost, repeated, unpermitted } = report;
  process.exitCode = duplicates + lost + repeated + unpermitted === 0 ? 0 : 1;
} catch (error) {
  if (!stopped.signal.aborted) endWithNeed(error);
  notice.write("stopped\n");
  process.exitCode = 130;
}

function count(name: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 1) return number;
  process.stderr.write(`--${name}: expected a whole number of at least 1, got "${text}"\n`);
  process.exit(2);
}

function summary(report: ChaosReport): string {
  const { calls, questions } = report;
  const lines: [string, string | number][] = [
    ["steps", report.steps],
    ["reports", report.reports],
    ["duplicates", report.duplicates],
    ["lost", report.lost],
    ["effects repeated unseen", report.repeated],
    ["effects without the yes they needed", report.unpermitted],
    ["", ""],
    ["failed", `${report.failed} ${report.failed === 0 ? "" : JSON.stringify(report.failures)}`],
    ["touches of the world", report.touches],
    ["questions asked", `${questions.policy} by policy, ${questions.inDoubt} in doubt`],
    ["workers killed", report.kills],
    ["workers paused past their lease", report.pauses],
    ["workers that ended by themselves", report.fell],
    ["Redis restarted", report.restarts],
    ["Redis demoted to a replica", report.demotions],
    ["jobs taken over", report.takeOvers],
    ["writes refused by the fence", report.refusedWrites],
    ["calls to the control plane", calls.calls],
    ["failed before reaching it", calls.refused],
    ["answers lost", calls.unanswered],
    ["answered by something else", calls.misanswered],
    ["told that their key is not valid", calls.keyRefused],
    ["seconds it was away", report.awayMs / 1_000],
    ["dead letters", report.deadLetters],
    ["jobs left on the stream", report.left],
    ["seconds", report.seconds],
  ];
  return lines.map(([name, value]) => `${name.padEnd(36)}${value}`.trimEnd()).join("\n") + "\n";
}
