import { basename, dirname, join, relative, sep } from "node:path";

export interface Start {
  /** The file that Node was given, links not followed: `process.argv[1]`. */
  file: string;
  /** The working directory. */
  folder: string;
  env: Readonly<Record<string, string | undefined>>;
}

/**
 * What a person has to type, in this folder, to start this program again: `stateplane` where it is on the PATH,
 * `npx stateplane` where a project has it installed, the npm script or the file in a checkout. Every hint and help text
 * that names a command begins with it, so that it runs as it is printed.
 */
export function programOf({ file, folder, env }: Start): string {
  if (env["npm_command"] === "exec") return "npx stateplane";
  const at = file.lastIndexOf(`${sep}node_modules${sep}`);
  const isOfProject = at >= 0 && `${folder}${sep}`.startsWith(`${file.slice(0, at)}${sep}`);
  if (isOfProject) return "npx stateplane";
  if (at >= 0 || basename(file) === "stateplane") return "stateplane";
  const ofScript = env["npm_package_json"] ?? "";
  const isOfCheckout = ofScript !== "" && file.startsWith(`${dirname(ofScript)}${sep}`);
  if (isOfCheckout && dirname(ofScript) === folder) return "npm run -s stateplane --";
  const near = relative(folder, file);
  const path = near.startsWith(join("..", "..")) ? file : near;
  return `node ${word(path)}`;
}

let found: string | null = null;

/** {@link programOf} this process. */
export function calledAs(): string {
  const { argv, env } = process;
  found ??= programOf({ file: argv[1] ?? "stateplane", folder: process.cwd(), env });
  return found;
}

let flagsFor: (rest: string) => string = () => "";

/** What this process was told by flags, and other commands must be told too: `--config FILE`. */
export function repeatFlags(of: (rest: string) => string): void {
  flagsFor = of;
}

/** A command line of ours that runs as it is printed: `commandLine("runs list")`. */
export function commandLine(rest: string): string {
  return `${calledAs()} ${rest}${flagsFor(rest)}`;
}

/** One word of a command line, quoted where a shell would read it otherwise. */
export function word(text: string): string {
  return /^[\w./:@%+=,-]+$/u.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
