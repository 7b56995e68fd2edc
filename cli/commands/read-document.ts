import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { parse } from "yaml";
import {
  isJsonObject,
  type Json,
  type JsonObject,
  parseJson,
} from "../../machines/contracts/domain/json.ts";
import type { Context } from "../command.ts";
import { CliError } from "../output/errors.ts";

/**
 * A JSON or YAML document from a file, or from standard input for `-`.
 *
 * @param flag that named it, for the error; null where it was an argument
 * @throws CliError
 */
export async function readDocument(
  file: string,
  folder: string,
  flag: string | null,
): Promise<Json> {
  const by = flag === null ? "" : `--${flag}: `;
  const from = file === "-" ? "standard input" : file;
  const content = await readContent(file, folder).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? "no such file" : `can't be read (${error.code})`;
    throw new CliError(2, `${by}${file}: ${why}`);
  });
  let read = parseJson(content);
  if (!read.ok && read.reason === "syntax") {
    try {
      read = parseJson(JSON.stringify(parse(content, { intAsBigInt: true }) ?? null, asWritten));
    } catch (error) {
      throw new CliError(2, `${by}${from}: expected JSON or YAML (${where(error)})`);
    }
  }
  if (!read.ok) throw new CliError(2, `${by}${from} ${read.problem}`);
  return read.value;
}

/** Whole numbers go to JSON with all their digits, so that one that can't be kept is seen there. */
function asWritten(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return rawJson(value.toString());
  if (typeof value === "number" && !Number.isFinite(value)) return rawJson("1e999");
  return value;
}

/** Node has it since 21; TypeScript's library does not know it yet. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON: (text: string) => unknown };

function readContent(file: string, folder: string): Promise<string> {
  return file === "-" ? text(process.stdin) : readFile(resolve(folder, file), "utf8");
}

/** Only the place: the words of the message quote the content. */
function where(error: unknown): string {
  if (!(error instanceof Error)) return "it is none";
  if ("linePos" in error && Array.isArray(error.linePos)) {
    const { line, col } = error.linePos[0] as { line: number; col: number };
    return `line ${line}, column ${col}`;
  }
  return /line \d+ column \d+/.exec(error.message)?.[0] ?? "it ends too early, or is none";
}

/** The arguments of a call, from `--input JSON` or `--file FILE`; none where neither is given. @throws CliError */
export async function readInput({
  invocation,
  folder,
}: Pick<Context, "invocation" | "folder">): Promise<JsonObject> {
  const { input, file } = invocation.flags;
  if (input !== undefined && file !== undefined) {
    throw new CliError(2, `${invocation.command}: expected one of --input JSON and --file FILE`);
  }
  if (input === undefined && file === undefined) return {};
  const read =
    typeof file === "string" ? await readDocument(file, folder, "file") : fromFlag(String(input));
  if (isJsonObject(read)) return read;
  throw new CliError(2, `${invocation.command}: expected the arguments as a JSON object`);
}

/** JSON given on the command line. @throws CliError */
export function fromFlag(given: string, flag = "input"): Json {
  const read = parseJson(given);
  if (read.ok) return read.value;
  if (read.reason !== "syntax") throw new CliError(2, `--${flag} ${read.problem}`);
  throw new CliError(2, `--${flag}: expected JSON, such as '{"path": "."}' (${read.place})`);
}
