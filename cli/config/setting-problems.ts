import { type Type, type } from "arktype";
import { InvalidSetting, InvalidSettings } from "../../machines/contracts/domain/errors.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { distance, nearest } from "../../machines/contracts/domain/nearest.ts";
import { isSecretKey } from "../../machines/contracts/domain/secret-names.ts";
import { nameOf } from "../../machines/contracts/domain/users-code.ts";
import type { ConfigFile } from "./config-file.ts";
import { fileVariable } from "./secret-files.ts";
import { settingSources } from "./setting-sources.ts";
import { type ObjectKey, objectSettings, type SettingKey } from "./settings.ts";

/* What is wrong with a configuration, in words: all of it at once, so that nobody mends and starts five times. */

const keys = Object.keys(settingSources);

/** One problem alone, or all of them together. */
export function togetherOf(problems: readonly InvalidSetting[]): InvalidSetting {
  const [first] = problems;
  return first !== undefined && problems.length === 1 ? first : new InvalidSettings(problems);
}

/** A plain word, or a number with its unit: no key and no password that is worth its name looks like this. */
const harmless = /^(?:[a-z]{1,12}|-?[\d.]{1,16} ?[a-z]{0,3})$/iu;

/**
 * What was given in place of what was expected. Of a setting that is shown masked nothing is said, and of a text that could
 * be a secret in the wrong place its length alone; null for nothing.
 */
export function givenText(key: string, path: readonly string[], value: unknown): string | null {
  const isMasked = Object.hasOwn(settingSources, key) && settingSources[key as SettingKey].mask;
  if (isMasked || path.some(isSecretKey) || key === "tools") return null;
  if (typeof value === "string") {
    const length = `${value.length} character${value.length === 1 ? "" : "s"}`;
    return harmless.test(value) ? `"${value}"` : `a text of ${length}`;
  }
  return typeof value === "number" || typeof value === "boolean" ? String(value) : nameOf(value);
}

/** Every variable that a setting is read from, and the files that stand for one. */
const variables = Object.values(settingSources).flatMap(({ env = [], mask }) =>
  env.flatMap((name) => (mask === undefined ? [name] : [name, fileVariable(name)])),
);
const ours = /^(?:STATEPLANE|WORKER)_/u;

/**
 * Variables that are nearly one of ours, where that one is not set. Two letters at most: other programs have variables that
 * begin with WORKER_, and Kubernetes makes some for each service.
 */
export function misspeltVariables(
  env: Readonly<Record<string, string | undefined>>,
): InvalidSetting[] {
  const known = variables.filter((name) => ours.test(name));
  return Object.keys(env)
    .filter((name) => ours.test(name) && !known.includes(name))
    .flatMap((name) => {
      const meant = known.find((each) => !env[each] && distance(name, each) <= 2);
      if (meant === undefined) return [];
      const expected = `a variable that is read; did you mean ${meant}?`;
      return [new InvalidSetting(name, "the environment", expected)];
    });
}

/** Every key that is not known, at any depth; a list of what is known where nothing resembles it. */
export function unknownKeys(file: ConfigFile | null): InvalidSetting[] {
  if (file === null) return [];
  return findUnknown(file.values, []).map(({ path, known }) => {
    const meant = nearest(path.at(-1) ?? "", known);
    const others = path[0] === "handlers" ? ", or tool:NAME" : "";
    const expected =
      meant === null
        ? `one of ${known.join(", ")}${others}`
        : `a known setting; did you mean ${meant}?`;
    return new InvalidSetting(path.join("."), file.path, expected);
  });
}

function findUnknown(
  values: Readonly<Record<string, unknown>>,
  above: readonly string[],
): { path: string[]; known: readonly string[] }[] {
  const known = knownKeys(above);
  return Object.entries(values).flatMap(([key, item]) => {
    const path = [...above, key];
    if (known !== null && !known.includes(key) && !isToolsHandler(path)) return [{ path, known }];
    if (known === null && !isOpen(above)) return [];
    return isJsonObject(item) ? findUnknown(item, path) : [];
  });
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

export const shapeOf = (key: ObjectKey): Type<Record<string, object>> =>
  type({ [key]: objectSettings[key]() }).as<Record<string, object>>();
export const isObjectKey = (key: string): key is ObjectKey => Object.hasOwn(objectSettings, key);
