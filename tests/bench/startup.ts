import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { mediansOf, mib, table } from "./figures.ts";
import { openStage, programOf } from "./stage.ts";

export type StartupFigures = Record<"versionMs" | "workerReadyMs" | "idleRssBytes", number>;

const run = promisify(execFile);

/** Time from starting the program, Redis and the control plane being up, and what it takes when idle for 3 s. */
export async function benchStartup(
  { rounds, isBuilt }: { rounds: number; isBuilt: boolean },
  note: (line: string) => void,
): Promise<StartupFigures> {
  await using stage = await openStage();
  const program = programOf(isBuilt);
  const measured: StartupFigures[] = [];
  // The first start reads the modules from the disk; it counts for nobody.
  await run(process.execPath, [...program, "--version"]);
  for (let round = 0; round < rounds; round += 1) {
    const asked = performance.now();
    await run(process.execPath, [...program, "--version"]);
    const versionMs = performance.now() - asked;
    const begun = performance.now();
    const worker = stage.startWorker({ concurrency: 4, isBuilt });
    await worker.says("takes jobs");
    const workerReadyMs = performance.now() - begun;
    await sleep(3_000);
    measured.push({ versionMs, workerReadyMs, idleRssBytes: worker.usage().rssBytes });
    await worker.stop();
    note(`round ${round + 1}: ready in ${workerReadyMs.toFixed(0)} ms`);
  }
  return mediansOf(measured);
}

export function startupTable(figures: StartupFigures): string {
  const { versionMs, workerReadyMs, idleRssBytes } = figures;
  return table(
    ["stateplane --version", "worker ready", "resident, idle"],
    [[`${versionMs.toFixed(0)} ms`, `${workerReadyMs.toFixed(0)} ms`, mib(idleRssBytes)]],
  );
}
