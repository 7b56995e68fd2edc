/** The parts of a server's configuration in which `${VAR}` means a variable. */
export interface Expandable {
  args: string[];
  env: Record<string, string>;
  url: string;
  headers: Record<string, string>;
}

type Variables = Record<string, string | undefined>;

/** Puts in the variables' values; one that is not set is a problem that names it and its place. */
export function expandVariables(
  parts: Expandable,
  variables: Variables,
): { ok: true; value: Expandable } | { ok: false; problem: string } {
  const problems: string[] = [];
  const expand = (where: string, text: string): string =>
    text.replaceAll(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => {
      const value = variables[name];
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
