import { dirname, resolve } from "node:path";
import { type Type, type } from "arktype";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { type ConfigFile, readConfigFile, unreadable } from "./config-file.ts";
import {
  type ObjectKey,
  objectSettings,
  type SettingKey,
  type Settings,
  settingsShape,
} from "./settings.ts";
import { nearest } from "../../machines/contracts/domain/nearest.ts";
import { defaultModels, settingSources } from "./setting-sources.ts";
import { refuseUnsaid } from "./sandbox-settings.ts";
import { readVariable } from "./secret-files.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";

export interface Config {
  settings: Settings;
  /** Where each value came from: `flag --store`, `environment variable REDIS_URL`, a file's path, `default`. */
  sources: Readonly<Record<SettingKey, string>>;
  /** The configuration file that was read, absolute. */
  file: string | null;
  /** The files that it is made of, where it is code. */
  code: readonly string[];
}

export interface ConfigRequest {
  /** Settings given as flags, by flag name without dashes. */
  flags: Readonly<Record<string, string | undefined>>;
  env: Readonly<Record<string, string | undefined>>;
  /** Where relative paths and the configuration file are looked for. */
  folder: string;
  /** A configuration file named by the user. */
  file: string | null;
  /** A configuration that a program made, in place of a file's. */
  given?: ConfigFile;
}

interface Given {
  value: unknown;
  source: string;
}

const keys = Object.keys(settingSources) as SettingKey[];

/**
 * Collects every setting: flags, then environment, then the configuration file, then defaults.
 *
 * @throws InvalidSetting naming the key, the value's source and what was expected, never the value
 */
export async function loadConfig(request: ConfigRequest): Promise<Config> {
  const file = request.given ?? (await readConfigFile(request.folder, request.file));
  return readable(file, () => collect(request, file));
}

/** Its own code may throw while it is looked at: a getter, a proxy. */
function readable<T>(file: ConfigFile | null, look: () => T): T {
  try {
    return look();
  } catch (error) {
    if (file === null || error instanceof InvalidSetting) throw error;
    throw unreadable(file.path, error);
  }
}

function collect(request: ConfigRequest, file: ConfigFile | null): Config {
  refuseUnknown(file);
  const given = new Map<SettingKey, Given>();
  for (const key of keys) {
    const found = fromFlag(key, request) ?? fromEnv(key, request) ?? fromFile(key, file);
    const { fallback } = settingSources[key];
    if (found !== null) given.set(key, found);
    else if (fallback !== undefined) given.set(key, { value: fallback, source: "default" });
  }
  followKeys(given);
  const read = readSettings(given);
  if (read instanceof type.errors) throw problem(read, given);
  const sourceOf = (key: SettingKey) => given.get(key)?.source ?? "default";
  refuseUnsaid(read, sourceOf("sandboxDrivers"), sourceOf("sandboxWithoutBoundary"));
  const settings = placed(read, given, request.folder, file);
  const sources = Object.fromEntries(
    keys.map((key) => [key, given.get(key)?.source ?? "not set"]),
  ) as Record<SettingKey, string>;
  return {
    settings,
    sources,
    file: request.given === undefined ? (file?.path ?? null) : null,
    code: file?.code ?? [],
  };
}

/** What is wrong with an object is said before what is wrong with the rest. */
function readSettings(given: ReadonlyMap<SettingKey, Given>): Settings | type.errors {
  const values = Object.fromEntries([...given].map(([key, { value }]) => [key, value]));
  for (const key of Object.keys(values).filter(isObjectKey)) {
    const read = shapeOf(key)({ [key]: values[key] });
    if (read instanceof type.errors) return read;
    Object.assign(values, read);
  }
  return settingsShape(values);
}

const shapeOf = (key: ObjectKey): Type<Record<string, object>> =>
  type({ [key]: objectSettings[key]() }).as<Record<string, object>>();
const isObjectKey = (key: string): key is ObjectKey => Object.hasOwn(objectSettings, key);

/** Where nobody names the default model, it is one of the provider whose key is there. */
function followKeys(given: Map<SettingKey, Given>): void {
  if (given.get("defaultModel")?.source !== "default") return;
  const isSet = (key: SettingKey) => (given.get(key)?.value ?? null) !== null;
  if (isSet("anthropicApiKey")) return;
  const [value, key] = isSet("openaiApiKey")
    ? ([defaultModels.openai, "openaiApiKey"] as const)
    : isSet("modelScript")
      ? ([defaultModels.scripted, "modelScript"] as const)
      : [null, null];
  if (value !== null)
    given.set("defaultModel", { value, source: `default, because ${key} is set` });
}

function fromFlag(key: SettingKey, { flags }: ConfigRequest): Given | null {
  const { flag } = settingSources[key];
  const value = flag === undefined ? undefined : flags[flag];
  return value === undefined ? null : { value, source: `flag --${flag}` };
}

/**
 * An empty variable counts as not set: compose files and copied examples are full of them. What is masked when it is
 * shown may stand in a file.
 */
function fromEnv(key: SettingKey, { env, folder }: ConfigRequest): Given | null {
  const { env: names = [], mask } = settingSources[key];
  for (const name of names) {
    const found = mask === undefined ? env[name] || null : readVariable(name, env, folder);
    if (typeof found === "string") return { value: found, source: `environment variable ${name}` };
    if (found !== null) return found;
  }
  return null;
}

function fromFile(key: SettingKey, file: ConfigFile | null): Given | null {
  const value = file?.values[key];
  return file === null || value === undefined ? null : { value, source: file.path };
}

/** Any key that is not known, at any depth; a list of what is known where nothing resembles it. */
function refuseUnknown(file: ConfigFile | null): void {
  if (file === null) return;
  const stranger = findUnknown(file.values, []);
  if (stranger === null) return;
  const { path, known } = stranger;
  const meant = nearest(path.at(-1) ?? "", known);
  const others = path[0] === "handlers" ? ", or tool:NAME" : "";
  const expected =
    meant === null
      ? `one of ${known.join(", ")}${others}`
      : `a known setting; did you mean ${meant}?`;
  throw new InvalidSetting(path.join("."), file.path, expected);
}

function findUnknown(
  values: Readonly<Record<string, unknown>>,
  above: readonly string[],
): { path: string[]; known: readonly string[] } | null {
  const known = knownKeys(above);
  for (const [key, item] of Object.entries(values)) {
    const path = [...above, key];
    if (known !== null && !known.includes(key) && !isToolsHandler(path)) return { path, known };
    if (known === null && !isOpen(above)) continue;
    const below = isJsonObject(item) ? findUnknown(item, path) : null;
    if (below !== null) return below;
  }
  return null;
}

/** Where the user chooses the names: agents, providers, and models with their prices or fallbacks. */
const isOpen = ([first, second, third]: readonly string[]) =>
  second === undefined
    ? ["agents", "collections", "fallbacks", "prices", "providers", "webhooks"].includes(
        first ?? "",
      )
    : first === "providers" && second !== undefined && third === "prices";

/** `handlers` takes any tool's name, too. */
const isToolsHandler = ([first, second, third]: readonly string[]) =>
  first === "handlers" && /^tool:./u.test(second ?? "") && third === undefined;

/** The keys that the settings' shape names at a path; null where any may stand. */
function knownKeys(path: readonly string[]): readonly string[] | null {
  if (path.length === 0) return keys;
  const [setting = ""] = path;
  if (isOpen(path) || !isObjectKey(setting)) return null;
  try {
    const here = shapeOf(setting).get(...(path as [string]));
    const object = here.exclude("undefined | null");
    const named = object.props.map(({ key }) => String(key));
    return named.length === 0 ? null : named;
  } catch {
    // Not an object of the shape's: whatever it is, its own check says so.
    return null;
  }
}

function problem(errors: type.errors, given: ReadonlyMap<SettingKey, Given>): InvalidSetting {
  const [first] = errors;
  const key = String(first?.path[0] ?? "configuration") as SettingKey;
  const source = given.get(key)?.source ?? "the configuration";
  return new InvalidSetting(
    first?.path.stringify() ?? key,
    source,
    first?.expected ?? "another value",
  );
}

function placed(
  settings: Settings,
  given: ReadonlyMap<SettingKey, Given>,
  folder: string,
  file: ConfigFile | null,
): Settings {
  const isFromFile = (key: SettingKey) => given.get(key)?.source === file?.path;
  const paths = keys.flatMap((key) => {
    const value = settings[key];
    if (settingSources[key].isPath !== true || typeof value !== "string") return [];
    const base = file !== null && isFromFile(key) ? dirname(file.path) : folder;
    return [[key, resolve(base, value)]];
  });
  return { ...settings, ...(Object.fromEntries(paths) as Partial<Settings>) };
}

/** A secret as its owner recognises it: the last four characters, of a long one only. */
export function maskSecret(secret: string): string {
  return secret.length < 12 ? "***" : `***${secret.slice(-4)}`;
}

/** A URL without its password and without its query, in which keys travel too. */
export function maskUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null) return "***";
  const user = url.username === "" ? "" : decode(url.username);
  const login = url.password === "" ? user : `${user}:***`;
  const query = url.search === "" ? "" : "?***";
  const path = url.pathname === "/" ? "" : url.pathname;
  return `${url.protocol}//${login === "" ? "" : `${login}@`}${url.host}${path}${query}`;
}

export interface ShownSetting {
  key: SettingKey;
  value: unknown;
  source: string;
}

/** Every setting as it may be shown to anyone. */
export function maskConfig({ settings, sources }: Config): ShownSetting[] {
  return (Object.keys(settingSources) as SettingKey[])
    .filter((key) => settings[key] !== undefined)
    .map((key) => ({ key, value: shown(key, settings[key]), source: sources[key] }));
}

function shown(key: SettingKey, value: unknown): unknown {
  const { mask } = settingSources[key];
  if (typeof value === "function") return "(a function)";
  if (mask === "secret" && typeof value === "string") return maskSecret(value);
  if (mask === "url" && typeof value === "string") return maskUrl(value);
  if (isJsonObject(value) && key === "handlers") {
    return Object.fromEntries(Object.keys(value).map((name) => [name, "(a function)"]));
  }
  if (Array.isArray(value) && key === "tools") {
    return value.map((tool: { name: string }) => tool.name);
  }
  return value;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
