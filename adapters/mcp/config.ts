import { readFile } from "node:fs/promises";
import { type } from "arktype";

const stringMap = type({ "[string]": "string" });

const serverShape = type({
  "command?": "string > 0 | null",
  "args?": type("string[]").or("null"),
  "env?": stringMap.or("null"),
  "cwd?": "string > 0 | null",
  "url?": "string > 0 | null",
  "headers?": stringMap.or("null"),
  "disabled?": "boolean | null",
});
const serverKeys = new Set(["name", "command", "args", "env", "cwd", "url", "headers", "disabled"]);

const configShape = type({
  "servers?": serverShape.and({ name: "string > 0" }).array(),
  "mcpServers?": { "[string]": serverShape },
  "allowlist?": {
    // A misspelt list would silently be no list.
    "+": "reject",
    "allowed_tools?": "string[]",
    "approval_required?": "string[]",
    "denied_tools?": "string[]",
  },
});

export interface McpConfig {
  servers: McpServer[];
  /** What the file says and we do not act on, as whole sentences. */
  warnings: string[];
  /** Null when the file says nothing of it. */
  allowlist: { allowedTools: string[]; approvalRequired: string[]; deniedTools: string[] } | null;
}

/**
 * Reads an MCP configuration file: FerrumDeck's shape (`servers`, a list, and `allowlist`) or the common
 * one (`mcpServers`, by name). `${VAR}` in args, env, url and headers is taken from `env`, `${VAR:-text}` is the
 * text where it is not set. A server with `disabled: true` is left out.
 *
 * @returns the problem, one line naming the file, the key and what was expected, never a value
 */
export async function readConfig(
  file: string,
  env: Record<string, string | undefined>,
): Promise<{ ok: true; value: McpConfig } | { ok: false; problem: string }> {
  const problem = (text: string) => ({ ok: false, problem: `${file}: ${text}` }) as const;
  let parsed: unknown;
  try {
    parsed = JSON.parse((await readFile(file, "utf8")).replace(/^\uFEFF/u, ""));
  } catch (error) {
    // A parser's message quotes the text around the fault, and that may be a secret.
    if (error instanceof SyntaxError) return problem("must be JSON");
    return problem(`can't be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`);
  }
  const config = configShape(parsed);
  if (config instanceof type.errors) {
    const [first] = config;
    const key = first?.path.stringify() || "the file";
    return problem(`${key} must be ${first?.expected ?? "an MCP configuration"}`);
  }
  const { servers: list, mcpServers: record, allowlist } = config;
  if ((list === undefined) === (record === undefined)) {
    return problem("must have either servers (a list) or mcpServers (an object), and not both");
  }
  const entries =
    list?.map((entry, index) => ({ key: `servers[${index}]`, ...entry })) ??
    Object.entries(record ?? {}).map(([name, entry]) => ({ key: "mcpServers", ...entry, name }));
  const servers: McpServer[] = [];
  const warnings: string[] = [];
  for (const entry of entries) {
    const { key, name, command, args, env: variables, cwd, url, headers, disabled } = entry;
    const where = `${key} "${name}"`;
    const unknown = Object.keys(entry).filter((word) => word !== "key" && !serverKeys.has(word));
    if (unknown.length > 0) {
      warnings.push(`${file}: ${where} has keys that mean nothing here: ${unknown.join(", ")}.`);
    }
    if (disabled === true) continue;
    if (servers.some((other) => other.name === name)) {
      return problem(`${where} must have a name of its own`);
    }
    if ((command ?? null) === null ? (url ?? null) === null : (url ?? null) !== null) {
      const instead = command || unknown.length === 0 ? "" : `; it has ${unknown.join(", ")}`;
      return problem(`${where} must have either a command or a url, and not both${instead}`);
    }
    const expanded = expandVariables(
      { args: args ?? [], env: variables ?? {}, url: url ?? "", headers: headers ?? {} },
      env,
    );
    if (!expanded.ok) return problem(`${where} ${expanded.problem}`);
    const { url: address, ...rest } = expanded.value;
    const hidden = wellKnown.filter(
      (word) => env[word] && name.toLowerCase().includes(owner(word)) && !(word in rest.env),
    );
    if (command && hidden.length > 0) {
      warnings.push(
        `${file}: ${where} does not see ${hidden.join(", ")}: a server gets only the variables that its env names.`,
      );
    }
    if (command) {
      const folder = cwd ? { cwd } : {};
      servers.push({ name, command, args: rest.args, env: rest.env, ...folder });
    } else if (/^https?:$/.test(URL.parse(address)?.protocol ?? "")) {
      servers.push({ name, url: address, headers: rest.headers });
    } else {
      return problem(`${where} url must be an http or https address`);
    }
  }
  return {
    ok: true,
    value: { servers, warnings, allowlist: allowlist === undefined ? null : readList(allowlist) },
  };
}

/** Variables that well-known servers read, and that FerrumDeck's worker would have handed on. */
const wellKnown = [
  "GITHUB_PERSONAL_ACCESS_TOKEN",
  "GITHUB_TOKEN",
  "GITLAB_TOKEN",
  "SLACK_BOT_TOKEN",
];
const owner = (variable: string) => variable.split("_")[0]?.toLowerCase() ?? "";

type Allowlist = NonNullable<typeof configShape.infer.allowlist>;

function readList(allowlist: Allowlist): NonNullable<McpConfig["allowlist"]> {
  return {
    allowedTools: allowlist.allowed_tools ?? [],
    approvalRequired: allowlist.approval_required ?? [],
    deniedTools: allowlist.denied_tools ?? [],
  };
}

/** The parts of a server's configuration in which `${VAR}` means a variable. */
export interface Expandable {
  args: string[];
  env: Record<string, string>;
  url: string;
  headers: Record<string, string>;
}

const variable = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g;

type Variables = Record<string, string | undefined>;

/** Puts in the variables' values; one that is not set is a problem that names it and its place. */
export function expandVariables(
  parts: Expandable,
  variables: Variables,
): { ok: true; value: Expandable } | { ok: false; problem: string } {
  const problems: string[] = [];
  const expand = (where: string, text: string): string =>
    text.replaceAll(variable, (_, name: string, otherwise: string | undefined) => {
      const set = variables[name];
      const value = otherwise !== undefined && (set ?? "") === "" ? otherwise : set;
      if (value === undefined) problems.push(`${where} uses \${${name}}, which is not set`);
      return value ?? "";
    });
  const expandMap = (where: string, map: Record<string, string>): Record<string, string> =>
    Object.fromEntries(
      Object.entries(map).map(([key, text]) => [key, expand(`${where}.${key}`, text)]),
    );
  const value = {
    args: parts.args.map((text, index) => expand(`args[${index}]`, text)),
    env: expandMap("env", parts.env),
    url: expand("url", parts.url),
    headers: expandMap("headers", parts.headers),
  };
  const [problem] = problems;
  return problem === undefined ? { ok: true, value } : { ok: false, problem };
}

/**
 * One configured MCP server: a `command` that we start and speak to over its standard streams, or the `url`
 * of one that runs elsewhere (streamable HTTP). Exactly one of the two.
 */
export interface McpServer {
  name: string;
  command?: string;
  args?: string[];
  /** All that the child sees beyond HOME, LOGNAME, PATH, SHELL, TERM and USER. */
  env?: Record<string, string>;
  cwd?: string;
  url?: string;
  /** Sent with every request to `url`. */
  headers?: Record<string, string>;
}
