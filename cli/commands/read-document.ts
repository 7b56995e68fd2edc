import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { parse } from "yaml";
import type { Json } from "../../machines/contracts/domain/json.ts";
import { CliError } from "../output/errors.ts";

/**
 * A JSON or YAML document from a file, or from standard input for `-`.
 *
 * @param flag for the error
 * @throws CliError
 */
export async function readDocument(file: string, folder: string, flag: string): Promise<Json> {
  const from = file === "-" ? "standard input" : file;
  const content = await read(file, folder).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? "no such file" : `can't be read (${error.code})`;
    throw new CliError(2, `--${flag}: ${file}: ${why}`);
  });
  try {
    // YAML reads JSON too; the round trip leaves only what JSON can say.
    return JSON.parse(JSON.stringify(parse(content) ?? null)) as Json;
  } catch (error) {
    throw new CliError(2, `--${flag}: ${from}: expected JSON or YAML (${where(error)})`);
  }
}

function read(file: string, folder: string): Promise<string> {
  return file === "-" ? text(process.stdin) : readFile(resolve(folder, file), "utf8");
}

/** Only the place: the words of the message quote the content. */
export function where(error: unknown): string {
  if (!(error instanceof Error)) return "it is none";
  if ("linePos" in error && Array.isArray(error.linePos)) {
    const { line, col } = error.linePos[0] as { line: number; col: number };
    return `line ${line}, column ${col}`;
  }
  return /line \d+ column \d+/.exec(error.message)?.[0] ?? "it ends too early, or is none";
}
