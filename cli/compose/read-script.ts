import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import { type ModelScript, readModelScript } from "../../adapters/llm/scripted.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";

/**
 * What `scripted/…` models answer, from a JSON or YAML file.
 *
 * @param source where the file's name came from
 * @throws InvalidSetting
 */
export async function readScript(file: string, source: string): Promise<ModelScript> {
  const problem = (expected: string) => new InvalidSetting("modelScript", source, expected);
  const content = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw problem(`a readable file; ${file}: ${error.code}`);
  });
  let parsed: unknown;
  try {
    // YAML reads JSON too.
    parsed = parse(content);
  } catch {
    throw problem(`JSON or YAML in ${file}`);
  }
  const script = readModelScript(parsed);
  if (typeof script === "string") throw problem(`a script in ${file}; ${script}`);
  return script;
}
