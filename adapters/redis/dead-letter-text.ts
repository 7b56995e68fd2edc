import { isJsonObject } from "../../machines/contracts/json.ts";
import type { DeadLetter } from "../../machines/contracts/ports/step-queue.ts";
import { looseJson } from "../../machines/contracts/record-text.ts";
import { fieldsOf } from "./fields.ts";

/** A letter as the flat names and values of a stream entry. */
export function writeLetter(letter: Omit<DeadLetter, "id">): string[] {
  return [
    ["fields", JSON.stringify(letter.fields)],
    ["reason", letter.reason],
    ["snapshot", JSON.stringify(letter.snapshot ?? null)],
    ["at", String(letter.at)],
    ["path", JSON.stringify(letter.path)],
    ["deliveries", String(letter.deliveries)],
  ].flat();
}

/** Never throws: what was not written by {@link writeLetter} comes back as far as it can be read. */
export function readLetter(id: string, flat: readonly string[]): DeadLetter {
  const kept = fieldsOf(flat);
  const fields = looseJson(kept["fields"]);
  const path = looseJson(kept["path"]);
  return {
    id,
    fields: isJsonObject(fields) ? textsOf(fields) : {},
    reason: kept["reason"] ?? "",
    path: Array.isArray(path) ? path.filter((state) => typeof state === "string") : [],
    snapshot: looseJson(kept["snapshot"]),
    deliveries: Number(kept["deliveries"]) || 0,
    at: Number(kept["at"]) || 0,
  };
}

function textsOf(fields: object): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
