import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type } from "arktype";
import stripJsonComments from "strip-json-comments";
import { nearest } from "../../machines/contracts/domain/nearest.ts";
import { type ToolRule, toolRuleShape } from "../../machines/contracts/domain/tool-lists.ts";
import {
  credentialWarning,
  expandVariables,
  variableWarnings,
  readEnvFile,
  type Variables,
} from "./config-variables.ts";
import type { McpServer } from "./server-options.ts";

export type { McpServer };

export interface McpConfig {
  servers: McpServer[];
  /** The names of those that are left out because they are disabled. */
  disabled: string[];
  /** What the file says and we do not act on, as whole sentences. */
  warnings: string[];
  /** Null when the file says nothing of it. */
  allowlist: {
    allowedTools: ToolRule[];
    approvalRequired: ToolRule[];
    deniedTools: ToolRule[];
  } | null;
}

const stringMap = type({ "[string]": "string" });

const limitsShape = type({
  "+": "reject",
  "timeoutMs?": "number >= 1",
  "maxTimeoutMs?": "number >= 1",
  "concurrency?": "number.integer >= 1",
  "callsPerMinute?": "number.integer >= 1",
  "outputBytes?": "number.integer >= 1",
});

const serverShape = type({
  "type?": "string | null",
  "command?": "string > 0 | null",
  "args?": type("string[]").or("null"),
  "env?": stringMap.or("null"),
  "envFile?": "string > 0 | null",
  "cwd?": "string > 0 | null",
  "processes?": "'own' | 'shared' | null",
  "url?": "string > 0 | null",
  "headers?": stringMap.or("null"),
  "bearerToken?": "string > 0 | null",
  "oauth?": type({
    clientId: "string > 0",
    clientSecret: "string > 0",
    "scope?": "string > 0",
    "issuer?": "string > 0",
  }).or("null"),
  "start?": "'eager' | 'lazy' | null",
  "limits?": limitsShape.or("null"),
  "toolLimits?": type({ "[string]": limitsShape }).or("null"),
  "timeout?": "number > 0 | null",
  "disabled?": "boolean | null",
  "enabled?": "boolean | null",
});
type ServerEntry = typeof serverShape.infer;

const serverRecord = type({ "[string]": serverShape });
const fileShape = type({
  "mcpServers?": serverRecord,
  "allowlist?": {
    // A misspelt list would silently be no list.
    "+": "reject",
    "allowed_tools?": toolRuleShape.array(),
    "approval_required?": toolRuleShape.array(),
    "denied_tools?": toolRuleShape.array(),
  },
});
/** FerrumDeck's list, or the object that an editor keeps under the same key. */
const serverList = type({ "servers?": serverShape.and({ name: "string > 0" }).array() });
const serversByName = type({ "servers?": serverRecord });

const fileKeys = ["servers", "mcpServers", "allowlist"];
/** Of other programs; what they say is nothing that we would act on. */
const silentFileKeys = ["$schema", "description", "version", "inputs"];
export const serverKeys = serverShape.props.map(({ key }) => String(key));
const oauthKeys = ["clientId", "clientSecret", "scope", "issuer"];
const allowlistKeys = ["allowed_tools", "approval_required", "denied_tools"];

/** What other programs call what we have under another name, and no spelling would find. */
const otherWords: Readonly<Record<string, string>> = {
  serverUrl: "url",
  httpUrl: "url",
  transport: "type",
  transportType: "type",
  auth: "oauth",
  autoApprove: 'the file\'s "allowlist"',
  alwaysAllow: 'the file\'s "allowlist"',
  disabledTools: '"denied_tools" of the file\'s "allowlist"',
  excludeTools: '"denied_tools" of the file\'s "allowlist"',
  includeTools: '"allowed_tools" of the file\'s "allowlist"',
};

/** As editors and SDKs write them. */
const transports: Readonly<Record<string, "stdio" | "http" | "sse">> = {
  stdio: "stdio",
  http: "http",
  "streamable-http": "http",
  streamablehttp: "http",
  streamable_http: "http",
  sse: "sse",
};

type Read<T> = { ok: true; value: T } | { ok: false; problem: string };

/**
 * Reads an MCP configuration file: FerrumDeck's shape (`servers`, a list, and `allowlist`) or that of editors
 * (`mcpServers`, or `servers`, by name), as JSON that may have comments, trailing commas and a byte-order mark.
 * `${VAR}`, `${env:VAR}` and `${VAR:-text}` are taken from `env` wherever a server's texts stand. A server with
 * `disabled: true` or `enabled: false` is left out.
 *
 * @param onFile is told of each file that it names, before that is read
 * @param mayExpand which variables the file may hand on to its servers
 * @returns the problem, one line naming the file, the key and what was expected, never a value
 */
export async function readConfig(
  file: string,
  env: Variables,
  mayExpand: (variable: string) => boolean = () => true,
  onFile: (file: string) => void = () => {},
): Promise<Read<McpConfig>> {
  const read = await readFileOf({ file, env, mayExpand, onFile });
  return read.ok ? read : { ok: false, problem: `${file}: ${read.problem}` };
}

async function readFileOf(place: Place): Promise<Read<McpConfig>> {
  const { file, env } = place;
  const parsed = await parseFile(file);
  if (!parsed.ok) return parsed;
  const config = fileShape(parsed.value);
  if (config instanceof type.errors) return problem(shapeProblem(config));
  const isList = Array.isArray((config as { servers?: unknown }).servers);
  const own = isList ? serverList(config) : serversByName(config);
  if (own instanceof type.errors) return problem(shapeProblem(own));
  const { servers: list } = own;
  const { mcpServers: record, allowlist } = config;
  const warnings = strangers(config, [...fileKeys, ...silentFileKeys], "the file");
  if ((list === undefined) === (record === undefined)) {
    const hint = warnings.length === 0 ? "" : `; ${warnings.join("; ")}`;
    return problem(
      `must have either servers (a list or an object) or mcpServers (an object), and not both${hint}`,
    );
  }
  const servers: McpServer[] = [];
  const disabled: string[] = [];
  for (const { where, name, entry } of entriesOf(list, record)) {
    warnings.push(...entryWarnings(entry, where));
    if (entry.disabled === true || entry.enabled === false) {
      disabled.push(name);
      continue;
    }
    if (servers.some((other) => other.name === name)) {
      return problem(`${where} must have a name of its own`);
    }
    const server = await readServer(name, entry, place);
    if (!server.ok) return problem(`${where} ${server.problem}`);
    servers.push(server.value);
    const hint = credentialWarning(server.value, env);
    if (hint !== null) warnings.push(`${where} ${hint}`);
  }
  return {
    ok: true,
    value: {
      servers,
      disabled: disabled.filter((name) => servers.every((server) => server.name !== name)),
      warnings: warnings.map((text) => `${file}: ${text}.`),
      allowlist:
        allowlist === undefined
          ? null
          : {
              allowedTools: allowlist.allowed_tools ?? [],
              approvalRequired: allowlist.approval_required ?? [],
              deniedTools: allowlist.denied_tools ?? [],
            },
    },
  };
}

const problem = (text: string) => ({ ok: false, problem: text }) as const;

async function parseFile(file: string): Promise<Read<unknown>> {
  try {
    const text = decode(await readFile(file));
    if (text === null) return problem("must be text in UTF-8, or in UTF-16 with a byte-order mark");
    return { ok: true, value: JSON.parse(stripJsonComments(text, { trailingCommas: true })) };
  } catch (error) {
    if (error instanceof SyntaxError) {
      // A parser's message quotes the text around the fault, and that may be a secret.
      const place = /\(line \d+ column \d+\)/u.exec(error.message)?.[0];
      return problem(`must be JSON${place === undefined ? "" : ` ${place}`}`);
    }
    return problem(`can't be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`);
  }
}

/** Windows' own editors and shells write a byte-order mark, and some of them UTF-16. */
function decode(bytes: Buffer): string | null {
  const encoding =
    bytes[0] === 0xff && bytes[1] === 0xfe
      ? "utf-16le"
      : bytes[0] === 0xfe && bytes[1] === 0xff
        ? "utf-16be"
        : "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

function shapeProblem(errors: type.errors): string {
  const [first] = errors;
  const key = first?.path.stringify() || "the file";
  const said = `${key} must be ${first?.expected ?? "an MCP configuration"}`;
  const word = String(first?.path.at(-1) ?? "");
  const isList = first?.path[0] === "allowlist" && first.path.length === 2;
  if (!isList || allowlistKeys.includes(word)) return said;
  const meant = nearest(word, allowlistKeys);
  return `${said}: ${meant === null ? `a list is one of ${allowlistKeys.join(", ")}` : `did you mean ${meant}?`}`;
}

interface Entry {
  /** For a person. */
  where: string;
  name: string;
  entry: ServerEntry;
}

function entriesOf(
  list: (typeof serverList.infer | typeof serversByName.infer)["servers"],
  record: typeof serverRecord.infer | undefined,
): Entry[] {
  if (Array.isArray(list)) {
    return list.map((entry, index) => {
      const { name, ...rest } = entry;
      return { where: `servers[${index}] "${name}"`, name, entry: rest };
    });
  }
  const key = list === undefined ? "mcpServers" : "servers";
  return Object.entries(list ?? record ?? {}).map(([name, entry]) => ({
    where: `${key} "${name}"`,
    name,
    entry,
  }));
}

/** Keys that mean nothing here, each with the one that was probably meant. */
function strangers(given: object, known: readonly string[], where: string): string[] {
  return Object.keys(given)
    .filter((key) => !known.includes(key))
    .map((key) => {
      const other = Object.hasOwn(otherWords, key) ? otherWords[key] : nearest(key, known);
      const hint = other === null || other === undefined ? "" : `; did you mean ${other}?`;
      return `${where} has a key "${key}" that means nothing here${hint}`;
    });
}

function entryWarnings(entry: ServerEntry, where: string): string[] {
  const { timeout, oauth, disabled, enabled } = entry;
  const warnings = [
    ...strangers(entry, serverKeys, where),
    ...(oauth ? strangers(oauth, oauthKeys, `${where} oauth`) : []),
  ];
  if (typeof timeout === "number" && timeout < leastMs) {
    warnings.push(
      `${where} timeout is read as ${timeout} seconds, because no server answers in ${timeout} milliseconds; write ${timeout * 1_000}`,
    );
  }
  warnings.push(...variableWarnings(entry).map((said) => `${where} ${said}`));
  if (disabled === true && enabled === true) {
    warnings.push(`${where} is both disabled and enabled, and counts as disabled`);
  }
  return warnings;
}

/** Some editors write seconds, others milliseconds; nobody means less than a second. */
const leastMs = 1_000;

interface Place {
  file: string;
  env: Variables;
  mayExpand: (variable: string) => boolean;
  onFile: (file: string) => void;
}

async function readServer(
  name: string,
  entry: ServerEntry,
  { file, env, mayExpand, onFile }: Place,
): Promise<Read<McpServer>> {
  const kind = kindOf(entry);
  if (!kind.ok) return kind;
  const texts = expandVariables(
    {
      command: entry.command ?? undefined,
      args: entry.args ?? [],
      env: entry.env ?? {},
      envFile: entry.envFile ?? undefined,
      cwd: entry.cwd ?? undefined,
      url: entry.url ?? undefined,
      headers: entry.headers ?? {},
      bearerToken: entry.bearerToken ?? undefined,
      oauth: entry.oauth ?? undefined,
    },
    env,
    mayExpand,
  );
  if (!texts.ok) return texts;
  const {
    command,
    args,
    env: own,
    envFile,
    cwd,
    url = "",
    headers,
    bearerToken,
    oauth,
  } = texts.value;
  const readNamed = (path: string) => {
    onFile(path);
    return readEnvFile(path);
  };
  const { timeout, start, limits, toolLimits, processes } = entry;
  const time = {
    ...(typeof timeout === "number"
      ? { timeoutMs: Math.ceil(timeout < leastMs ? timeout * 1_000 : timeout) }
      : {}),
    ...(start ? { start } : {}),
    ...(limits ? { limits } : {}),
    ...(toolLimits ? { toolLimits } : {}),
  };
  if (command !== undefined) {
    const shared = envFile === undefined ? null : await readNamed(resolve(dirname(file), envFile));
    if (shared !== null && !shared.ok) return shared;
    const folder = {
      ...(cwd === undefined ? {} : { cwd }),
      ...(processes === "own" ? { processes } : {}),
    };
    return {
      ok: true,
      value: { name, command, args, env: { ...shared?.value, ...own }, ...folder, ...time },
    };
  }
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
    return problem("url must be an http or https address");
  }
  const transport = kind.value === null ? {} : { transport: kind.value };
  const token = bearerToken === undefined ? {} : { bearerToken };
  const client = oauth === undefined ? {} : { oauth: oauth as NonNullable<McpServer["oauth"]> };
  return { ok: true, value: { name, url, headers, ...transport, ...token, ...client, ...time } };
}

/** How a server of a `url` is spoken to; null where that is not said, or for one of a `command`. */
function kindOf(entry: ServerEntry): Read<"http" | "sse" | null> {
  const { command = null, url = null, type: said = null } = entry;
  const unknown = Object.keys(entry).filter((key) => !serverKeys.includes(key));
  if ((command === null) === (url === null)) {
    const instead =
      command !== null || unknown.length === 0 ? "" : `; it has ${unknown.join(", ")}`;
    return problem(`must have either a command or a url, and not both${instead}`);
  }
  const credentials = ["bearerToken", "oauth"] as const;
  const given = credentials.filter((key) => (entry[key] ?? null) !== null);
  if (url === null && given.length > 0) {
    return problem(`${given.join(" and ")} must go with a url: a command is given its env`);
  }
  if (command === null && entry.processes === "own") {
    return problem("processes must go with a command: what a url leads to is not started here");
  }
  if (given.length > 1) return problem("must have either a bearerToken or oauth, and not both");
  if (said === null) return { ok: true, value: null };
  const key = said.toLowerCase();
  const transport = Object.hasOwn(transports, key) ? transports[key] : undefined;
  if (transport === undefined) {
    return problem("type must be stdio, http, streamable-http or sse");
  }
  if ((transport === "stdio") !== (command !== null)) {
    const needs = transport === "stdio" ? "a command" : "a url";
    return problem(`type is ${transport}, which goes with ${needs}, and it has none`);
  }
  return { ok: true, value: transport === "stdio" ? null : transport };
}
