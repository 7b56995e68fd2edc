import { isJsonObject } from "../../machines/contracts/json.ts";
import type { Config } from "./load-config.ts";
import type { SettingKey } from "./settings.ts";
import { settingSources } from "./setting-sources.ts";

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
  return value;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
