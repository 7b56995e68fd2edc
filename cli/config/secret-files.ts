import { closeSync, fstatSync, openSync, readFileSync, constants } from "node:fs";
import { resolve } from "node:path";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** Bytes: no key, token or address is longer, and a wrong path may lead to anything. */
const largest = 65_536;

/**
 * A variable that may hold a secret: its own value, or the content of the file that `NAME_FILE` names, as Docker and
 * Kubernetes mount secrets. An empty variable counts as not set.
 *
 * @param folder what a relative path is relative to
 * @returns null where neither is set
 * @throws InvalidSetting that names the file, never what is in it
 */
export function readVariable(
  name: string,
  env: Env,
  folder = process.cwd(),
): { value: string; source: string } | null {
  const own = valueOf(name, env);
  const named = fileVariable(name);
  const path = valueOf(named, env);
  if (path === null)
    return own === null ? null : { value: own, source: `environment variable ${name}` };
  if (own !== null) {
    throw new InvalidSetting(name, `environment variables ${name} and ${named}`, "one of the two");
  }
  const file = resolve(folder, path);
  const source = `file ${file}, named by environment variable ${named}`;
  return { value: readSecret(name, file, source), source };
}

export const fileVariable = (name: string): string => `${name}_FILE`;

/** Only a variable of the environment itself counts: no name that every object has. */
const valueOf = (name: string, env: Env): string | null =>
  Object.hasOwn(env, name) ? env[name] || null : null;

function readSecret(name: string, file: string, source: string): string {
  const refuse = (expected: string) => new InvalidSetting(name, source, expected);
  let bytes: Buffer;
  try {
    // A FIFO that nobody writes to would hold the program up for ever.
    const opened = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const about = fstatSync(opened);
      if (!about.isFile()) throw refuse("a regular file");
      if (about.size > largest) throw refuse(`a file of at most ${largest} bytes`);
      bytes = readFileSync(opened);
    } finally {
      closeSync(opened);
    }
  } catch (error) {
    if (error instanceof InvalidSetting) throw error;
    throw refuse(`a readable file (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw refuse("a file of UTF-8 text");
  }
  const value = text.replace(/\r?\n$/u, "");
  if (value.trim() === "") throw refuse("a file that is not empty");
  if (/[\n\r\0]/u.test(value)) throw refuse("a file of one line");
  return value;
}

/**
 * The environment, with a variable for each `NAME_FILE` that `isSecret` takes; its file is read when somebody looks.
 * Where both are set, looking is an error.
 */
export function withSecretFiles(
  env: Env,
  isSecret: (name: string) => boolean,
): Record<string, string | undefined> {
  const all = { ...env };
  for (const variable of Object.keys(env)) {
    const name = variable.replace(/_FILE$/u, "");
    if (name === variable || name === "" || !isSecret(name) || valueOf(variable, env) === null)
      continue;
    Object.defineProperty(all, name, {
      enumerable: true,
      configurable: true,
      get: () => readVariable(name, env)?.value,
    });
  }
  return all;
}
