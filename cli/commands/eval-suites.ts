import { composeModels, pricesOf } from "../compose/compose-models.ts";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { isNode, LineCounter, parseDocument } from "yaml";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { digestOf, digestOfPath } from "../../evals/digest.ts";
import { readSuite, type Suite, type SuiteChanges, type SuiteSource } from "../../evals/suite.ts";
import { suggest } from "../../machines/contracts/domain/shape-problems.ts";
import { messageOf } from "../../machines/contracts/domain/users-code.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { Command, Context } from "../command.ts";
import { loadUsersModule, withPlace } from "../config/users-modules.ts";
import { CliError } from "../output/errors.ts";

const modules = [".ts", ".mts", ".js", ".mjs"];
const documents = [".yaml", ".yml", ".json"];

/** Those that come with the program, beside this file as it is: TypeScript in the repository, JavaScript in the package. */
const ownSuites = fileURLToPath(new URL("../../evals/suites", import.meta.url));

const foldersOf = (folder: string) => [join(folder, "evals", "suites"), ownSuites];

interface FoundSuite {
  name: string;
  file: string;
}

async function findSuites(folder: string): Promise<FoundSuite[]> {
  const found = new Map<string, FoundSuite>();
  for (const place of foldersOf(folder)) {
    for (const entry of await readdir(place).catch(() => [])) {
      const extension = extname(entry);
      const isSuite = [...modules, ...documents].includes(extension) && !entry.endsWith(".d.ts");
      const name = basename(entry, extension);
      if (isSuite && !found.has(name)) found.set(name, { name, file: join(place, entry) });
    }
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A suite by its name in `evals/suites`, or by its file. @throws CliError where there is none */
async function findSuite(named: string, folder: string): Promise<string> {
  const file = resolve(folder, named);
  const isPath = /[/\\]/u.test(named) || [...modules, ...documents].includes(extname(named));
  if (isPath && (await stat(file).catch(() => null))?.isFile() === true) return file;
  const all = await findSuites(folder);
  const one = all.find(({ name }) => name === named);
  if (one !== undefined) return one.file;
  const names = all.map(({ name }) => name);
  const hint = suggest(named, names) || `; expected a file, or one of ${names.join(", ")}`;
  throw new CliError(2, `there is no suite ${JSON.stringify(named)}${hint}`);
}

/** By a digest of the files that code is made of: a suite's agent may be in another file. */
export async function digestOfCode(files: readonly string[], folder: string): Promise<string> {
  const digests = files.map(async (path) => [relative(folder, path), await digestOfPath(path)]);
  return digestOf(await Promise.all(digests));
}

/** What an error says of a place in the suite's file: `:line:column`. */
type Locate = (path: readonly (string | number)[]) => string;

async function loadSuite(file: string): Promise<SuiteSource & { locate: Locate }> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new CliError(2, `${file}: can't be read (${error.code})`);
  });
  const folder = dirname(file);
  if (modules.includes(extname(file))) {
    try {
      const { loaded, files } = await loadUsersModule(file);
      const code = await digestOfCode(files, folder);
      return { given: loaded.default, folder, text, code, locate: () => "" };
    } catch (error) {
      const why = await withPlace(messageOf(error), error);
      throw new CliError(2, `${file}: can't be loaded: ${why}`);
    }
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [error] = document.errors;
  const placed = (at: number | undefined) => {
    if (at === undefined) return "";
    const { line, col } = lines.linePos(at);
    return `:${line}:${col}`;
  };
  if (error !== undefined)
    throw new CliError(2, `${file}${placed(error.pos[0])}: is not YAML or JSON (${error.code})`);
  const locate: Locate = (path) => {
    for (let length = path.length; length >= 0; length -= 1) {
      const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
      if (isNode(node)) return placed(node.range?.[0]);
    }
    return "";
  };
  return { given: document.toJS() as unknown, folder, text, locate };
}

/**
 * A suite, read whole. Lines of its datasets that can't be used end the command, unless they are to be passed over.
 *
 * @throws CliError with every problem, each with its place
 */
export async function openSuite(
  named: string,
  { folder, output, invocation }: Pick<Context, "folder" | "output" | "invocation">,
  changes: SuiteChanges,
  models: ModelProvider | null,
): Promise<Suite & { file: string }> {
  const file = await findSuite(named, folder);
  const { locate, ...source } = await loadSuite(file);
  const suite = await readSuite(source, { models, schemas: createSchemaChecker() }, changes);
  const shown = (path: string) => {
    const near = relative(folder, path);
    return near.startsWith("..") ? path : near;
  };
  if (Array.isArray(suite)) {
    const lines = suite.map(({ path, problem }) => {
      const at = path.length === 0 ? "" : `${path.join(".")}: `;
      return `${shown(file)}${locate(path)}: ${at}${problem}`;
    });
    throw new CliError(2, lines.join("; "));
  }
  const bad = suite.bad.map(
    ({ file: from, line, problem }) => `${shown(from)}${line === 0 ? "" : `:${line}`}: ${problem}`,
  );
  if (bad.length > 0 && invocation.flags["skip-bad"] !== true) {
    const hint = "; --skip-bad passes over such lines";
    throw new CliError(2, `${bad.slice(0, toldLines).join("; ")}${more(bad.length)}${hint}`);
  }
  for (const line of bad.slice(0, toldLines)) output.remark(`passed over: ${line}`);
  if (bad.length > toldLines) output.remark(`passed over: ${bad.length} lines in all`);
  const unread = Object.entries(suite.unread).map(([key, count]) => `${key} (${count})`);
  if (unread.length > 0)
    output.remark(`no scorer reads these expectations of tasks: ${unread.join(", ")}`);
  if (suite.tasks.length === 0) throw new CliError(2, `${shown(file)}: no task is left to run`);
  return { ...suite, file };
}

const toldLines = 20;
const more = (count: number) => (count > toldLines ? `; and ${count - toldLines} more` : "");

/** `eval list [SUITE]`. */
export const listEvals: Command = async (context) => {
  const { invocation, folder, output } = context;
  const [named] = invocation.args;
  if (named !== undefined) {
    const { tasks } = await openSuite(named, context, { filter: {}, settings: {} }, null);
    if (output.isJson) output.json(tasks);
    else {
      const rows = tasks.map(({ id, name, category, difficulty, tags }) => [
        id,
        name,
        category,
        difficulty,
        tags.join(", "),
      ]);
      output.table(["Task", "Name", "Category", "Difficulty", "Tags"], rows);
    }
    return 0;
  }
  const suites = await Promise.all(
    (await findSuites(folder)).map(async ({ name, file }) => {
      const given = await loadSuite(file).then(
        (loaded) => loaded.given as { description?: unknown } | null,
        (error: unknown) => ({ description: messageOf(error) }),
      );
      return { name, file, description: String(given?.description ?? "") };
    }),
  );
  if (output.isJson) output.json(suites);
  else
    output.table(
      ["Suite", "About"],
      suites.map(({ name, description }) => [name, description]),
    );
  return 0;
};

/** Asked by judges alone: whoever runs the trials has models of its own. */
export function judgesModels({ config, env }: Context): Promise<ModelProvider> {
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  return composeModels(config, env, pricesOf(config.settings), silent);
}
