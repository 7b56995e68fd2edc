import { access, readdir, readFile } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";

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
  const values = await load(path);
  if (!isJsonObject(values)) {
    throw new InvalidSetting("configuration", path, "an object of settings");
  }
  return { path, values };
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

async function load(path: string): Promise<unknown> {
  const kind = extname(path);
  if (modules.has(kind)) return loadModule(path);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new InvalidSetting("configuration", path, `a readable file (${error.code})`);
  });
  const content = text.replace(/^\uFEFF/u, "");
  try {
    if (kind === ".json") return JSON.parse(content);
    const { parse } = await import("yaml");
    return parse(content) ?? {};
  } catch (error) {
    throw new InvalidSetting("configuration", path, parseProblem(kind, error));
  }
}

async function loadModule(path: string): Promise<unknown> {
  if (!(await exists(path))) {
    throw new InvalidSetting("configuration", path, "a readable file (ENOENT)");
  }
  try {
    const loaded: { default?: unknown } = await import(pathToFileURL(path).href);
    return loaded.default;
  } catch (error) {
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const expected = `a module whose default export is an object of settings (${firstLine(reason)})`;
    throw new InvalidSetting("configuration", path, expected);
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

const firstLine = (message: string) => message.split("\n")[0] ?? "";
