import type { Type } from "arktype";
import { registryAnswers } from "./registry-answers.ts";
import { runAnswers } from "./run-answers.ts";

/** By the names that they have in the document. */
export const answerShapes = { ...runAnswers, ...registryAnswers };
type AnswerName = keyof typeof answerShapes;
/** A document, a list of them, or a media type of what is no JSON. */
export type Answer = AnswerName | readonly [AnswerName] | { media: string };

/** One route, as the document tells it. */
export interface Operation {
  summary: string;
  query?: readonly Query[];
  headers?: readonly (keyof typeof headerParameters)[];
  body?: Type;
  answers: Readonly<Record<number, Answer>>;
  /** Statuses of refusals, in the error body, beside 401 and 403. */
  refuses: readonly number[];
}

/** By method and path. */
export type Operations = Readonly<Record<string, Operation>>;

interface Query {
  name: string;
  schema: Readonly<Record<string, unknown>>;
}

export const whole = (name: string, usual: number, least: number, most: number): Query => ({
  name,
  schema: { type: "integer", minimum: least, maximum: most, default: usual },
});
export const page = (usual: number, most = 100) => [
  whole("limit", usual, 1, most),
  whole("offset", 0, 0, Number.MAX_SAFE_INTEGER),
];
export const project: Query = { name: "project_id", schema: { type: "string" } };

export const headerParameters = {
  "Idempotency-Key": { type: "string", minLength: 1, maxLength: 255 },
  "X-Stateplane-Fence": { type: "string", pattern: "^[0-9]{1,15}$" },
  traceparent: { type: "string" },
} as const;

export const notFound = [404] as const;
/** A body that is no JSON or too long, and one that is out of shape. */
export const badBody = [400, 422] as const;
