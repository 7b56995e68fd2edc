import { readFile } from "node:fs/promises";
import { parseEnv } from "node:util";

export type Variables = Readonly<Record<string, string | undefined>>;

/** `${VAR}` or `${env:VAR}`, each with a text for where it is not set: `${VAR:-text}`. */
const variable = /\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-((?:[^}$]|\$(?!\{))*))?\}/g;

/** What editors ask a person for. */
const asked = /\$\{input:[^}]*\}/gu;

/**
 * What begins as a variable does, in any text of a value, and is none that we put in: it reaches the server as it
 * stands. Only its beginning is told, since what follows may be a secret.
 */
function strangeVariables(value: unknown): string[] {
  if (typeof value === "string") {
    const left = value.replaceAll(variable, "").replaceAll(asked, "");
    return [...left.matchAll(/\$\{\s*\w{0,40}(?::\w{0,40})?/gu)].map(([found]) => found);
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(strangeVariables);
}

/** The same as warnings, each the end of a sentence. */
export const variableWarnings = (value: unknown): string[] =>
  [...new Set(strangeVariables(value))].map(
    (found) =>
      `has "${found}", which is no variable and is handed on as it stands; a variable is \${VAR}, \${VAR:-default} or \${env:VAR}, and none stands within another`,
  );

/** Texts, alone or in lists and maps. */
export type Expandable =
  | string
  | undefined
  | readonly string[]
  | { readonly [key: string]: Expandable };

/**
 * Puts in the variables' values, wherever a text stands. Only variables of the environment itself count: no name that
 * every object has.
 *
 * @param mayExpand which of the environment's variables a configuration file may hand on
 * @returns the first problem, which names the place and the variable, never a value
 */
export function expandVariables<T extends Expandable>(
  value: T,
  variables: Variables,
  mayExpand: (name: string) => boolean,
): { ok: true; value: T } | { ok: false; problem: string } {
  const problems: string[] = [];
  const expandText = (where: string, text: string): string => {
    for (const [input] of text.matchAll(asked)) {
      problems.push(`${where} uses ${input}, which only an editor asks for: name a variable`);
    }
    return text.replaceAll(variable, (_, name: string, otherwise: string | undefined) => {
      const set = Object.hasOwn(variables, name) ? variables[name] : undefined;
      if (set !== undefined && !mayExpand(name)) {
        problems.push(
          `${where} uses \${${name}}, which this file may not hand on: name it in mcpVariables`,
        );
        return "";
      }
      const found = otherwise !== undefined && (set ?? "") === "" ? otherwise : set;
      if (found === undefined) problems.push(`${where} uses \${${name}}, which is not set`);
      return found ?? "";
    });
  };
  const expand = (where: string, item: Expandable): Expandable => {
    if (item === undefined) return undefined;
    if (typeof item === "string") return expandText(where, item);
    if (isList(item)) return item.map((text, index) => expandText(`${where}[${index}]`, text));
    return Object.fromEntries(
      Object.entries(item).map(([key, part]) => [
        key,
        expand(where === "" ? key : `${where}.${key}`, part),
      ]),
    );
  };
  const expanded = expand("", value) as T;
  const [problem] = problems;
  return problem === undefined ? { ok: true, value: expanded } : { ok: false, problem };
}

const isList = (item: Expandable): item is readonly string[] => Array.isArray(item);

/** The variables of an `.env` file. */
export async function readEnvFile(
  path: string,
): Promise<{ ok: true; value: Record<string, string> } | { ok: false; problem: string }> {
  try {
    const text = (await readFile(path, "utf8")).replace(/^\uFEFF/u, "");
    const read = Object.entries(parseEnv(text));
    return {
      ok: true,
      value: Object.fromEntries(
        read.filter((entry): entry is [string, string] => entry[1] !== undefined),
      ),
    };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    return { ok: false, problem: `envFile ${path} can't be read (${code})` };
  }
}

interface Credentialed {
  name: string;
  command?: string;
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
  headers?: Readonly<Record<string, string>>;
  bearerToken?: string;
  oauth?: object;
}

/**
 * The variables that a server would look for by its own name, that the worker has, and that it is not given:
 * `GITHUB_TOKEN` of a server `github`. FerrumDeck's worker would have handed them on.
 */
function missingCredentials(server: Credentialed, variables: Variables): string[] {
  const { name, command, args = [], env = {}, headers = {}, bearerToken, oauth } = server;
  const isKnownOtherwise =
    bearerToken !== undefined || oauth !== undefined || Object.keys(headers).length > 0;
  if (command === undefined && isKnownOtherwise) return [];
  const packages = args.filter((arg) => /mcp|server/iu.test(arg) && !arg.includes("="));
  const words = new Set(
    [name, ...packages].flatMap((text) => text.toUpperCase().split(/[^A-Z0-9]+/u)),
  );
  const isCredential = (variableName: string): boolean => {
    const [word = ""] = variableName.split("_");
    return words.has(word) && /_(?:TOKEN|KEY|SECRET|PASSWORD)$/u.test(variableName);
  };
  if (Object.keys(env).some(isCredential)) return [];
  return Object.keys(variables).filter((key) => isCredential(key) && variables[key]);
}

/** The same as the end of a sentence, with what to write; null where there are none. */
export function credentialWarning(server: Credentialed, env: Variables): string | null {
  const [first, ...more] = missingCredentials(server, env);
  if (first === undefined) return null;
  const all = [first, ...more].join(", ");
  return server.command === undefined
    ? `sends no credentials, although this worker has ${all}: to send it, write "bearerToken": "\${${first}}"`
    : `does not see ${all}, which this worker has: a server gets only the variables that its env names. To hand it on, write "env": { "${first}": "\${${first}}" }`;
}
