import type { Outcome } from "../domain/failure.ts";

export interface SandboxRequest {
  language: "python" | "bash" | "node";
  code: string;
  /** Relative path inside the working directory → content. */
  files: Record<string, string>;
  env: Record<string, string>;
  timeoutMs: number;
}

export interface SandboxRun {
  /** Null when killed by the time limit. */
  exitCode: number | null;
  timedOut: boolean;
  /** Each truncated by the driver at its limit; `truncated` says whether either was. */
  stdout: string;
  stderr: string;
  truncated: boolean;
  durationMs: number;
}

/** Runs code of strangers: no network, no environment of ours, bounded memory, processes, time and output. */
export interface Sandbox {
  /** What enforces the boundary: `bubblewrap` or `unshare`. */
  readonly driver: string;
  run(request: SandboxRequest, signal: AbortSignal): Promise<Outcome<SandboxRun>>;
}
