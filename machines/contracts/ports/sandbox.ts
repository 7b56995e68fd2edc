import type { Outcome } from "../domain/failure.ts";

/** In the order in which they are tried where nobody says another. */
export const sandboxDrivers = ["bubblewrap", "unshare", "container"] as const;
/** Runs code as the worker's user; used where its owner says so twice, and never chosen. */
export const driverWithoutBoundary = "none";
export const isSandboxDriver = (name: string): boolean =>
  (sandboxDrivers as readonly string[]).includes(name);

export interface SandboxRequest {
  /** `node` is another word for `javascript`; of TypeScript the types are stripped, not checked. */
  language: "python" | "bash" | "node" | "javascript" | "typescript";
  code: string;
  /** Arguments of the program. */
  args?: readonly string[];
  /** What it finds on its standard input; nothing by default. */
  stdin?: string;
  /** Relative path inside the working directory → content. */
  files: Record<string, string>;
  env: Record<string, string>;
  timeoutMs: number;
  /** What all its processes may hold together; more than the sandbox's own limit is no more than that. */
  memoryBytes?: number;
  /** Files to be kept; of the limits the sandbox's own hold where they are lower. */
  outputs?: SandboxOutputs;
}

export interface SandboxOutputs {
  /** Relative paths below the working directory, of files or of folders with all that is in them. */
  paths: readonly string[];
  maxFiles: number;
  /** Of all files together; a sparse file counts as long as it is. */
  maxBytes: number;
}

export interface SandboxFile {
  /** Relative, without controls; what the code called it otherwise. */
  path: string;
  content: Uint8Array;
}

export interface SandboxRun {
  /** Null when killed by the time limit. */
  exitCode: number | null;
  timedOut: boolean;
  /** Whether it was killed: for the memory it held, or by a SIGKILL of its own. */
  killed: boolean;
  /** Of a flood each keeps its head and its tail, with the count of what was left out between them. */
  stdout: string;
  stderr: string;
  /** Whether anything was left out of either. */
  truncated: boolean;
  /** Bytes that were left out of the two together. */
  leftOutBytes: number;
  /** Where the request names outputs: the regular files found there, none of them through a symlink. */
  files?: readonly SandboxFile[];
  /** What was asked for and is not among them; a path of "" stands for several. */
  leftOut?: readonly { path: string; reason: string }[];
  durationMs: number;
}

/** Runs code of strangers: no network, no environment of ours, bounded memory, processes, time and output. */
export interface Sandbox {
  /** What enforces the boundary: `bubblewrap`, `unshare` or `container`; `none` where nothing does. */
  readonly driver: string;
  run(request: SandboxRequest, signal: AbortSignal): Promise<Outcome<SandboxRun>>;
}
