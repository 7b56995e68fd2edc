import { ChildProcess } from "node:child_process";
import { appendFileSync } from "node:fs";

/**
 * Loaded before a server by `node --import`: each program that the server starts is written to `RECORD_SPAWNS`, a JSON
 * line each, before it is started.
 */
const file = process.env["RECORD_SPAWNS"] ?? "";

interface SpawnOptions {
  file: string;
  args?: string[];
  envPairs?: string[];
}

const prototype = ChildProcess.prototype as unknown as { spawn(options: SpawnOptions): unknown };
const { spawn } = prototype;
prototype.spawn = function recordAndSpawn(this: ChildProcess, options: SpawnOptions) {
  const { file: program, args = [], envPairs: env = [] } = options;
  appendFileSync(file, `${JSON.stringify({ program, args, env })}\n`);
  return spawn.call(this, options);
};
