import { spawn } from "node:child_process";
import { once } from "node:events";
import { bubblewrap } from "../../adapters/sandbox/bubblewrap.ts";
import { findSandbox } from "../../adapters/sandbox/find.ts";
import { baseEnv } from "../../adapters/sandbox/host-view.ts";
import { filterLoader } from "../../adapters/sandbox/load-filter.ts";
import { type BoxBuilder, unshare } from "../../adapters/sandbox/unshare.ts";
import type { SandboxRequest } from "../../machines/contracts/ports/sandbox.ts";
import { median, table } from "./figures.ts";

/** Milliseconds at the median, and how much longer ours takes than the bare command. */
export interface SandboxFigures {
  driver: string;
  program: string;
  bareMs: number;
  oursMs: number;
  overheadMs: number;
}

const programs: {
  name: string;
  language: SandboxRequest["language"];
  code: string;
  bare: string[];
}[] = [
  { name: "true", language: "bash", code: "true", bare: ["bash", "-c", "true"] },
  { name: "python", language: "python", code: "pass", bare: ["python3", "-c", "pass"] },
  { name: "node", language: "javascript", code: "0", bare: ["node", "-e", "0"] },
];
const triesARound = 10;

/**
 * What our limits, filter, program and watch add to the time that the driver's own command takes for the same program:
 * the same namespaces and mounts, without filter and limits. Each pair is run one after the other.
 */
export async function benchSandbox(
  rounds: number,
  note: (line: string) => void,
): Promise<SandboxFigures[]> {
  const figures: SandboxFigures[] = [];
  for (const [driver, builder] of Object.entries({ bubblewrap, unshare })) {
    const found = await findSandbox({ only: driver });
    if ("missing" in found) {
      note(`${driver} is left out: ${found.missing}`);
      continue;
    }
    for (const { name, language, code, bare } of programs) {
      const request = { language, code, files: {}, env: {}, timeoutMs: 30_000 };
      const run = () => found.sandbox.run(request, new AbortController().signal);
      // The first proves that the driver holds.
      await run();
      const pairs: { bare: number; ours: number }[] = [];
      for (let tries = 0; tries < rounds * triesARound; tries += 1) {
        const words = bareCommand(builder(), bare);
        pairs.push({ bare: await timed(() => runBare(words)), ours: await timed(run) });
      }
      const bareMs = median(pairs.map((pair) => pair.bare));
      const oursMs = median(pairs.map((pair) => pair.ours));
      const overheadMs = median(pairs.map((pair) => pair.ours - pair.bare));
      figures.push({ driver, program: name, bareMs, oursMs, overheadMs });
      note(`${driver} ${name}: ${overheadMs.toFixed(1)} ms more than ${bareMs.toFixed(1)} ms`);
    }
  }
  return figures;
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await act();
  return performance.now() - begun;
}

/** The driver's command with the program itself where ours has filter, limits and shell. */
function bareCommand(build: BoxBuilder, program: string[]): string[] {
  const words = build(30_000);
  const [loader = "prlimit"] = filterLoader() ?? [];
  const boxed = words.slice(0, words.lastIndexOf(words.includes(loader) ? loader : "prlimit"));
  const at = boxed.indexOf("--seccomp");
  const plain = at < 0 ? boxed : [...boxed.slice(0, at), ...boxed.slice(at + 2)];
  return [...plain, ...program];
}

async function runBare([command = "", ...args]: string[]): Promise<void> {
  const child = spawn(command, args, { cwd: "/", env: { ...baseEnv }, stdio: "pipe" });
  child.stdin.end();
  child.stdout.resume();
  child.stderr.resume();
  const [code] = (await once(child, "close")) as [number];
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
}

export function sandboxTable(figures: SandboxFigures[]): string {
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  return table(
    ["driver", "program", "bare command", "sandboxed", "overhead"],
    figures.map(({ driver, program, bareMs, oursMs, overheadMs }) => [
      driver,
      program,
      ms(bareMs),
      ms(oursMs),
      ms(overheadMs),
    ]),
  );
}
