import * as fc from "fast-check";

/** Stands for the byte 0xff, which is in no UTF-8: see `RecordedServer.ask`. */
export const rawByte = "\ue000";

/**
 * Strings by which a caller tries to become an option, to leave a folder, to reach a host, or to start a program: as they
 * stand, behind or before a plain one, and in pieces put together.
 *
 * @param outside - a folder that must be neither read nor written
 */
export function hostileString(outside: string, plain: readonly string[]): fc.Arbitrary<string> {
  const made = `${outside}/made`;
  const above = "../".repeat(12);
  const options = [
    `--upload-pack=touch ${made}`,
    `--receive-pack=touch ${made};git-receive-pack`,
    `--output=${made}`,
    `-ccore.sshCommand=touch ${made}`,
    "-c",
    `core.sshCommand=touch ${made}`,
    `--exec=touch ${made}`,
    `--exec-path=${outside}`,
    `--git-dir=${outside}/repository/.git`,
    `-C${outside}`,
    "--no-index",
    "--pathspec-from-file=/etc/passwd",
    `--template=${outside}`,
    `--config=core.hooksPath=${outside}`,
    `--rootdir=${outside}`,
    `-p${outside}/plugin`,
    `--config=${outside}/evil.config.js`,
    `--require=${outside}/evil.js`,
    `--import=${outside}/evil.js`,
    `-exec=touch ${made}`,
    `-toolexec=touch ${made}`,
    "--help",
    "-",
    "--",
  ];
  const places = [
    "..",
    "../outside/secret",
    `${above}${outside.slice(1)}/secret`,
    `${outside}/secret`,
    outside,
    `${outside}/repository`,
    "/etc/passwd",
    "/proc/self/environ",
    "/proc/self/fd/0",
    "way-out",
    "way-out/secret",
    "way-out/repository",
    "linked",
    "linked/secret",
    "linked-repository",
    "borrowed",
    "to-secret",
    "sub/../../outside/secret",
    ".git/config",
    ".GIT/hooks/post-checkout",
    ".",
    "./",
    "~",
    "~root",
    "",
  ];
  const addresses = [
    `ext::sh -c touch% ${made}`,
    `ext::touch ${made}`,
    "fd::3",
    `file://${outside}/repository`,
    "file:///etc",
    `ssh://-oProxyCommand=touch%20${made}/x`,
    `-oProxyCommand=touch ${made}:x`,
    "git@example.com:x.git",
    "http://localhost:1/x.git",
    "https://localhost:1/x.git",
    "https://user:secret@localhost:1/x.git",
    "https://localhost:1@example.com/x.git",
  ];
  const commands = [
    `$(touch ${made})`,
    `\`touch ${made}\``,
    `; touch ${made};`,
    `| touch ${made}`,
    `&& touch ${made}`,
    `' ; touch ${made} ; '`,
    `" ; touch ${made} ; "`,
    `!touch ${made}`,
    `__import__("os").system("touch ${made}")`,
    "$(touch made)",
    "; touch made #",
    "${HOME}",
    "$PATH",
  ];
  const revisions = [
    "HEAD:../outside/secret",
    ":/x",
    "@{-1}",
    "@{u}",
    "HEAD^{/x}",
    "a..b",
    "refs/heads/main",
  ];
  const globs = [":(top,glob)**", ":/", ":!x", "*", "?", "[a-z]*", "{a,b}", "**/*"];
  const odd = [
    "\0",
    "a\0b",
    "\n",
    "a.txt\n",
    "\r\n",
    "\t",
    "\u001b[2J",
    "\ud800",
    rawByte,
    `a${rawByte}b`,
    "\u202e",
    "e\u0301",
    "a".repeat(5_000),
  ];
  const whole = fc.constantFrom(
    ...options,
    ...places,
    ...addresses,
    ...commands,
    ...revisions,
    ...globs,
    ...odd,
  );
  const piece = fc.oneof(
    whole,
    fc.constantFrom(
      ...(plain.length === 0 ? ["x"] : plain),
      "/",
      " ",
      "=",
      "\0",
      "\n",
      ":",
      "-",
      "..",
    ),
    fc.string({ unit: "binary", maxLength: 6 }),
  );
  return fc.oneof(
    { weight: 3, arbitrary: whole },
    {
      weight: 2,
      arbitrary: fc.array(piece, { minLength: 1, maxLength: 3 }).map((all) => all.join("")),
    },
  );
}

interface Schema {
  type?: string;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
}

const isText = (schema: Schema): boolean =>
  schema.type === "string" || schema.enum?.some((one) => typeof one === "string") === true;

/** The arguments of a tool that are strings, or lists of strings, by its own schema. */
export const stringArguments = ({ properties = {} }: Schema): string[] =>
  Object.entries(properties)
    .filter(([, schema]) => isText(schema) || (schema.items !== undefined && isText(schema.items)))
    .map(([name]) => name);

/**
 * Input for a tool, made from its own schema: each string is a plain one or a hostile one, and mostly few are hostile,
 * so that a call gets as far as it can.
 *
 * @param plain - the plain strings by the argument's name
 */
export function hostileInput(
  schema: Schema,
  plain: Readonly<Record<string, readonly string[]>>,
  hostile: fc.Arbitrary<string>,
): fc.Arbitrary<Record<string, unknown>> {
  const { properties = {}, required = [] } = schema;
  const valueOf = (name: string, of: Schema): fc.Arbitrary<unknown> => {
    if (isText(of)) {
      const known = [...(plain[name] ?? []), ...((of.enum as string[] | undefined) ?? [])];
      return known.length === 0
        ? hostile
        : fc.oneof(
            { weight: 2, arbitrary: fc.constantFrom(...known) },
            { weight: 1, arbitrary: hostile },
          );
    }
    if (of.items !== undefined) {
      return fc.array(valueOf(name, of.items), { minLength: of.minItems ?? 0, maxLength: 3 });
    }
    if (of.type === "integer" || of.type === "number") {
      return fc.integer({ min: of.minimum ?? 1, max: Math.min(of.maximum ?? 20, 20) });
    }
    return fc.boolean();
  };
  return fc.record(
    Object.fromEntries(Object.entries(properties).map(([name, of]) => [name, valueOf(name, of)])),
    { requiredKeys: required },
  );
}
