import { settingSources } from "../config/setting-sources.ts";
import type { Config } from "../config/load-config.ts";
import type { SettingKey } from "../config/settings.ts";

/** An address that a server of ours is to have, and the settings that name it. */
export interface Wanted {
  host: string;
  port: number;
  portKey: SettingKey;
  /** How the host is named, where there is a setting or a flag for it. */
  hostBy: string | null;
}

/** Why an address can't be had, as the end of a sentence: which it is, who named it, and how to name another. */
export function listenTrouble(
  error: unknown,
  { host, port, portKey, hostBy }: Wanted,
  sources: Config["sources"],
): string {
  const source = sources[portKey];
  const from = /^(?:default|not set)/u.test(source) ? "" : ` (from ${source})`;
  const named = `port ${port} of ${host}${from}`;
  const another = namesOf(portKey).join(" or ");
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  switch (code) {
    case "EADDRINUSE":
      return `${named} is taken: stop what listens there, or name another by ${another}`;
    case "EACCES":
    case "EPERM":
      return `${named} is not for this user: name another by ${another}, from 1024 on`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `${host} is no address of this machine${hostBy === null ? "" : `: name one of its own by ${hostBy}`}`;
    default:
      return `${named} can't be had (${code})`;
  }
}

/** Whether a server could not listen where it was told to. */
export const isListenTrouble = (error: unknown): error is Error =>
  error instanceof Error &&
  "syscall" in error &&
  /^(?:listen|bind|getaddrinfo)$/u.test(String(error.syscall));

/** A setting's flag and its variable. */
function namesOf(key: SettingKey): string[] {
  const { flag, env = [] } = settingSources[key];
  return [...(flag === undefined ? [] : [`--${flag}`]), ...env.slice(0, 1)];
}
