import { isJsonObject } from "../../machines/contracts/json.ts";
import { looseJson } from "../../machines/contracts/record-text.ts";

/** A job's fields from the JSON object we keep them as; never throws. */
export function fieldsFrom(text: string): Record<string, string> {
  const fields = looseJson(text);
  if (!isJsonObject(fields)) return {};
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
