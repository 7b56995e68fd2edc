import { type } from "arktype";
import { effects } from "../policy.ts";
import { objectShape } from "../routes/request.ts";

/*
 * What the control plane answers, one shape a document of the wire. Every one is closed: a field that is not here is not
 * answered, which the fuzzing of the API holds the routes to.
 */
export const closed = { "+": "reject" } as const;
export const time = type(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
export const timeOrNull = time.or("null");
export const textOrNull = "string | null";
export const count = "number.integer >= 0";
export const countOrNull = "number.integer >= 0 | null";
export const objectOrNull = objectShape.or("null");
export const effect = type.enumerated(...effects);
