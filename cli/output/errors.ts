import { getSystemErrorMap, types } from "node:util";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import {
  InvalidSetting,
  InvalidSettings,
  StoreUnreachable,
} from "../../machines/contracts/domain/errors.ts";
import { secrets } from "../secrets.ts";
import { plain } from "./plain.ts";

/** A failure for a person: its kind, unless its words say that already, and its words. */
export function failureText(kind: string, message: string): string {
  const isSaid = kind.includes("_") && message.toLowerCase().includes(kind.replaceAll("_", " "));
  return isSaid ? message : `${kind}: ${message}`;
}

/** The exit code of everything we know to expect; null for what nobody expected. */
export function toCliError(error: unknown): CliError | null {
  // What a user's code throws may throw again when it is looked at, a proxy for one.
  if (!types.isNativeError(error)) return null;
  if (error instanceof CliError) return error;
  if (error instanceof InvalidSetting) return new CliError(2, error.message, { cause: error });
  if (error instanceof StoreUnreachable) {
    return new CliError(3, `the store can't be reached: ${error.message}`, { cause: error });
  }
  return fileError(error);
}

/** A folder or file that this user may not use, or a disk that is full. */
function fileError(error: Error): CliError | null {
  const path = valueOf(error, "path");
  if (path === null || !isFileTrouble(error)) return null;
  const code = valueOf(error, "code");
  const [, words = code] = [...getSystemErrorMap().values()].find(([name]) => name === code) ?? [];
  return new CliError(2, `${path}: ${words} (${code})`, { cause: error });
}

/** Trouble with a folder, a file or a disk of this machine. */
export const isFileTrouble = (error: Error): boolean => fileCodes.has(valueOf(error, "code") ?? "");

/** A member that holds its value itself: a getter is a user's, and may throw. */
function valueOf(error: Error, key: "code" | "path"): string | null {
  const value: unknown = Object.getOwnPropertyDescriptor(error, key)?.value;
  return typeof value === "string" ? value : null;
}

const fileCodes = new Set([
  "EACCES",
  "EPERM",
  "EROFS",
  "ENOSPC",
  "EDQUOT",
  "ENOTDIR",
  "EISDIR",
  "EEXIST",
  "ENOENT",
  "ELOOP",
  "ENAMETOOLONG",
]);

/** What the control plane's refusal or absence means to whoever typed the command. */
export function failureError({ kind, message, details }: Failure): CliError {
  const words = typeof details?.["said"] === "string" ? details["said"] : message;
  if (kind === "unauthorized") {
    return new CliError(2, `the control plane refuses the key in FD_API_KEY (${words})`);
  }
  const status = details?.["status"];
  if (kind === "unavailable" && typeof status === "number" && status < 400) {
    return new CliError(3, `the control plane gave an unexpected answer: ${message}`);
  }
  if (away.has(kind)) return new CliError(3, `the control plane can't be reached: ${message}`);
  // Its own words, without the call that they answered: whoever typed a command made no HTTP request.
  return new CliError(2, words);
}

const away: ReadonlySet<Failure["kind"]> = new Set(["unavailable", "rate_limited", "timeout"]);

/** What a person can fix, said in one line; ends the program with its exit code. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** As docs/configuration.md lists them. */
export type ExitCode = 1 | 2 | 3 | 4;

/** What a person can fix, a line a problem where there are several. */
export function printCliError({ message, cause }: CliError): void {
  if (!(cause instanceof InvalidSettings)) printError(message);
  else for (const problem of cause.problems) printError(problem.message);
}

/** One line on standard error, without any secret. */
export function printError(problem: string): void {
  process.stderr.write(`stateplane: ${plain(secrets.redact(problem))}\n`);
}
