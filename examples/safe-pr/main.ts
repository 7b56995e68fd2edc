import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { registerWorkflow, startWorkflowRun } from "../../adapters/control-plane/workflows-api.ts";
import { readWorkflow } from "../../adapters/workflows/read.ts";
import { startDev } from "../../cli/library.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import { isRunEnded, isStepEnded } from "../../machines/contracts/domain/status.ts";
import { answerApprovals } from "../first-light/approve.ts";
import { readOptions } from "../first-light/options.ts";
import { prepare } from "./prepare.ts";

/*
 * npm run safe-pr -- [--yes] [--keep]
 *
 * Runs workflow.yaml whole: a scripted model, our git and test-runner servers, a real repository with a bug and a
 * remote. Every change and the push are asked about: at the terminal, or approved with --yes.
 */

const print = (text: string) => void process.stdout.write(`${text}\n`);
const seedProject = "prj_01JFVX0000000000000000001";
const runMs = 240_000;

function value<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(outcome.failure.message);
}

async function main(): Promise<number> {
  const values = readOptions({ yes: { type: "boolean" }, keep: { type: "boolean" } });
  const read = readWorkflow(await readFile(join(import.meta.dirname, "workflow.yaml"), "utf8"));
  if (!read.ok) throw new Error(read.problems.map(({ problem }) => problem).join("\n"));
  const { folder, remote, config } = await prepare();
  try {
    await using dev = await startDev(config, { env: { PATH: process.env["PATH"] ?? "" } });
    const api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 10_000 });
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(runMs)]);
    const wanted = { definition: read.definition, projectId: seedProject };
    const workflow = value(await registerWorkflow(api, wanted, signal));
    const asked = {
      workflowId: workflow.id,
      input: { task: "An empty basket must cost nothing." },
      config: { budget: { max_wall_time_ms: runMs } },
    };
    const { id } = value(await startWorkflowRun(api, asked, signal));
    print(`run ${id} in ${folder}`);
    const answering = values.yes === true ? "approve" : process.stdin.isTTY ? "ask" : "reject";
    const answers = answerApprovals(api, id, answering, { print }, signal);
    const told = new Set<string>();
    for (let isOver = false; !isOver; await sleep(100, undefined, { signal })) {
      isOver = isRunEnded(value(await api.run(id, signal)).status);
      for (const step of value(await api.steps(id, signal))) {
        if (!isStepEnded(step.status) || told.has(step.id)) continue;
        told.add(step.id);
        print(`  ${step.status.padEnd(9)} ${step.name ?? step.id}`);
      }
    }
    const { status, status_reason: why } = value(await api.run(id, signal));
    over.abort();
    await answers;
    await api.close();
    print(`the run is ${status}${why ? `: ${why}` : ""}`);
    print(`branches of the remote:\n${await remote("log", "--all", "--format=  %D: %s")}`);
    return status === "completed" ? 0 : 1;
  } finally {
    if (values.keep !== true) await rm(folder, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`safe-pr: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
