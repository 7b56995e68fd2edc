import { dirname, resolve } from "node:path";
import { type } from "arktype";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { type ConfigFile, readConfigFile, unreadable } from "./config-file.ts";
import { type SettingKey, type Settings, settingsShape } from "./settings.ts";
import { defaultModels, settingSources } from "./setting-sources.ts";
import { refuseUnsaid } from "./sandbox-settings.ts";
import { readVariable } from "./secret-files.ts";
import {
  givenText,
  isObjectKey,
  misspeltVariables,
  shapeOf,
  togetherOf,
  unknownKeys,
} from "./setting-problems.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";

export interface Config {
  settings: Settings;
  /** Where each value came from: `flag --store`, `environment variable REDIS_URL`, a file's path, `default`. */
  sources: Readonly<Record<SettingKey, string>>;
  /** Variables that look like ours, misspelt: nothing reads them. They may be somebody else's. */
  misspelt: readonly string[];
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
 * @throws InvalidSetting, of all that can't be used at once: each key, its source, and what was expected
 */
export async function loadConfig(request: ConfigRequest): Promise<Config> {
  const problems: InvalidSetting[] = [];
  const found =
    request.given ??
    (await readConfigFile(request.folder, request.file).catch((error: unknown) => {
      if (!(error instanceof InvalidSetting)) throw error;
      problems.push(error);
      return null;
    }));
  return readable(found, () => collect(request, found, problems));
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

function collect(
  request: ConfigRequest,
  file: ConfigFile | null,
  before: readonly InvalidSetting[],
): Config {
  const problems = [...before, ...unknownKeys(file)];
  const given = new Map<SettingKey, Given>();
  for (const key of keys) {
    const found = attempt(
      () => fromFlag(key, request) ?? fromEnv(key, request) ?? fromFile(key, file),
      problems,
    );
    const { fallback } = settingSources[key];
    if (found !== null) given.set(key, found);
    else if (fallback !== undefined) given.set(key, { value: fallback, source: "default" });
  }
  for (const [key, { value, source }] of given) {
    // No system has such a file, and each that is asked for one says so in words of its own.
    if (settingSources[key].isPath === true && String(value).includes("\0"))
      problems.push(new InvalidSetting(key, source, "a path, in which no NUL may stand"));
  }
  followKeys(given);
  const sourceOf = (key: SettingKey) => given.get(key)?.source ?? "default";
  const read = readSettings(given);
  if (Array.isArray(read)) {
    const isTold = (path: string) => problems.some(({ key }) => key === path);
    problems.push(
      ...read.map((error) => problemOf(error, given)).filter(({ key }) => !isTold(key)),
    );
  } else {
    const [one, other] = [sourceOf("sandboxDrivers"), sourceOf("sandboxWithoutBoundary")];
    attempt(() => refuseUnsaid(read, one, other), problems);
  }
  const misspelt = misspeltVariables(request.env);
  if (Array.isArray(read) || problems.length > 0) throw togetherOf([...problems, ...misspelt]);
  const settings = placed(read, given, request.folder, file);
  const sources = Object.fromEntries(
    keys.map((key) => [key, given.get(key)?.source ?? "not set"]),
  ) as Record<SettingKey, string>;
  return {
    settings,
    sources,
    misspelt: misspelt.map(({ message }) => message),
    file: request.given === undefined ? (file?.path ?? null) : null,
    code: file?.code ?? [],
  };
}

/** Everything that is wrong with them, where anything is. */
function readSettings(given: ReadonlyMap<SettingKey, Given>): Settings | type.errors[number][] {
  const values = Object.fromEntries([...given].map(([key, { value }]) => [key, value]));
  const errors: type.errors[number][] = [];
  for (const key of Object.keys(values).filter(isObjectKey)) {
    const read = shapeOf(key)({ [key]: values[key] });
    if (read instanceof type.errors) errors.push(...read);
    else Object.assign(values, read);
  }
  const read = settingsShape(values);
  if (read instanceof type.errors) errors.push(...read);
  return read instanceof type.errors || errors.length > 0 ? errors : read;
}

/** Null where a setting can't be had; its problem stands among the others then. */
function attempt<T>(look: () => T, problems: InvalidSetting[]): T | null {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof InvalidSetting)) throw error;
    problems.push(error);
    return null;
  }
}

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
 * Kubernetes makes variables in every pod for each service beside it: one that is named `stateplane` has the address of its
 * first port in STATEPLANE_PORT.
 */
function isOfService(name: string, env: ConfigRequest["env"]): boolean {
  const service = name.endsWith("_PORT") ? name.slice(0, -"_PORT".length) : null;
  const isAddress = /^(?:tcp|udp|sctp):\/\//u.test(env[name] ?? "");
  return service !== null && isAddress && Boolean(env[`${service}_SERVICE_HOST`]);
}

/**
 * An empty variable counts as not set: compose files and copied examples are full of them. What is masked when it is
 * shown may stand in a file.
 */
function fromEnv(key: SettingKey, { env, folder }: ConfigRequest): Given | null {
  const { env: all = [], mask } = settingSources[key];
  const names = all.filter((name) => !isOfService(name, env));
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

/** Of several that could each have been it, what they expected: their own words together repeat the value. */
function expectedOf(error: type.errors[number]): string {
  if (error.hasCode("union") || error.hasCode("intersection")) {
    const each = error.errors.map(expectedOf);
    return [...new Set(each)].join(error.hasCode("union") ? " or " : " and ");
  }
  return error.expected || "another value";
}

/** What is wrong with one setting, as its shape says it, and what was given in its place. */
function problemOf(
  error: type.errors[number],
  given: ReadonlyMap<SettingKey, Given>,
): InvalidSetting {
  const key = String(error.path[0] ?? "configuration") as SettingKey;
  const source = given.get(key)?.source ?? "the configuration";
  const isUnknown = error.hasCode("predicate") && error.expected === "removed";
  const expected = isUnknown ? "it to be removed: no setting has this name" : expectedOf(error);
  const instead = isUnknown ? null : givenText(key, error.path.map(String), error.data);
  return new InvalidSetting(
    error.path.stringify() || key,
    source,
    instead === null ? expected : `${expected}, not ${instead}`,
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
