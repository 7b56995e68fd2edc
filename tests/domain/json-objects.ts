import * as fc from "fast-check";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";

/** Any JSON, as it is after it was written and read once (so without -0). */
export const jsonValues: fc.Arbitrary<Json> = fc
  .jsonValue()
  .map((value) => JSON.parse(JSON.stringify(value)) as Json);

export const jsonObjects: fc.Arbitrary<JsonObject> = fc
  .dictionary(fc.string(), jsonValues, { maxKeys: 5 })
  .map((object) => JSON.parse(JSON.stringify(object)) as JsonObject);
