import { access, readdir, readFile } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { loadUsersModule, withPlace } from "./users-modules.ts";
import { messageOf, placeOf } from "../../machines/contracts/domain/users-code.ts";

const modules = new Set([".ts", ".mts", ".js", ".mjs"]);
const read = new Set([...modules, ".json", ".yaml", ".yml"]);
/** What people write elsewhere, and would miss in silence here. */
const unread = new Set([".cjs", ".cts", ".jsonc", ".json5", ".toml"]);

/** Where a folder's configuration may be. */
export const configFileNames = [...read].map((extension) => `stateplane.config${extension}`);

export interface ConfigFile {
  /** Absolute. */
  path: string;
  values: Record<string, unknown>;
  /** Of one that is code, the files that it is made of, those that it imports included. */
  code?: readonly string[];
}

/**
 * Reads `stateplane.config.{ts,mts,js,mjs,json,yaml,yml}` of a folder, or the file that was named.
 *
 * @param named absolute or relative to `folder`; null to look for one, which need not be there
 * @throws InvalidSetting when the file can't be read, is no object, or there are several
 */
export async function readConfigFile(
  folder: string,
  named: string | null,
): Promise<ConfigFile | null> {
  const path = named === null ? await find(folder) : resolve(folder, named);
  if (path === null) return null;
  const { values, code = [] } = await load(path);
  if (!isObject(path, values)) {
    throw new InvalidSetting("configuration", path, "an object of settings");
  }
  return { path, values, code };
}

function isObject(path: string, values: unknown): values is Record<string, unknown> {
  try {
    return isJsonObject(values);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Of a configuration whose own code throws while its settings are read. */
export const unreadable = (path: string, error: unknown): InvalidSetting =>
  new InvalidSetting("configuration", path, `settings that can be read (${threw(error)})`);

function threw(error: unknown): string {
  const place = placeOf(error, process.cwd());
  return `${place === null ? "it threw" : `thrown at ${place}`}: ${messageOf(error)}`;
}

async function find(folder: string): Promise<string | null> {
  const all = await readdir(folder).catch(() => []);
  const found = all
    .filter((name) => /^stateplane\.config\.\w+$/u.test(name))
    .filter((name) => read.has(extname(name)) || unread.has(extname(name)))
    .map((name) => join(folder, name));
  if (found.length > 1) {
    throw new InvalidSetting("configuration", found.join(" and "), "one configuration file");
  }
  const [one = null] = found;
  if (one !== null && unread.has(extname(one))) {
    throw new InvalidSetting("configuration", one, `one of ${[...read].join(", ")}`);
  }
  return one;
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/** In an object of ours: a promise looks at what it is made with, and that may throw. */
async function load(path: string): Promise<{ values: unknown; code?: readonly string[] }> {
  const kind = extname(path);
  if (modules.has(kind)) return loadModule(path);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new InvalidSetting(
      "configuration",
      path,
      `a readable file (${error.code ?? error.message})`,
    );
  });
  const content = text.replace(/^\uFEFF/u, "");
  try {
    if (kind === ".json") return { values: JSON.parse(content) };
    const { parse } = await import("yaml");
    return { values: parse(content) ?? {} };
  } catch (error) {
    throw new InvalidSetting("configuration", path, parseProblem(kind, error));
  }
}

async function loadModule(path: string): Promise<{ values: unknown; code: readonly string[] }> {
  if (!(await exists(path))) {
    throw new InvalidSetting("configuration", path, "a readable file (ENOENT)");
  }
  // Node ends a program that has nothing left to do, with a text about its own code.
  const waitsForNothing = Promise.withResolvers<never>();
  const onIdle = () => waitsForNothing.reject(new Error("it awaits something that never comes"));
  process.once("beforeExit", onIdle);
  try {
    const { loaded, files } = await Promise.race([loadUsersModule(path), waitsForNothing.promise]);
    return { values: loaded.default, code: files };
  } catch (error) {
    const reason = await withPlace(reasonOf(error), error);
    const expected = `a module whose default export is an object of settings (${reason})`;
    throw new InvalidSetting("configuration", path, expected);
  } finally {
    process.off("beforeExit", onIdle);
  }
}

/** Where the fault is, without the text around it, which may be a secret. */
function parseProblem(kind: string, error: unknown): string {
  const language = kind === ".json" ? "JSON" : "YAML";
  const position =
    error instanceof Error && "linePos" in error && Array.isArray(error.linePos)
      ? ` (line ${error.linePos[0]?.line}, column ${error.linePos[0]?.col})`
      : (/\(line \d+ column \d+\)/.exec(error instanceof Error ? error.message : "")?.[0] ?? "");
  return `valid ${language} ${position}`.replace(/\s+/g, " ").trim();
}

function reasonOf(error: unknown): string {
  try {
    if (!(error instanceof Error)) return firstLine(String(error));
    const reason = firstLine(`${error.name}: ${error.message}`);
    const isMissing = "code" in error && error.code === "ERR_MODULE_NOT_FOUND";
    return isMissing ? `${reason}; install the packages that it imports in its folder` : reason;
  } catch {
    return messageOf(error);
  }
}

const firstLine = (message: string) => message.split("\n")[0] ?? "";
