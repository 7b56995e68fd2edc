import { expect, it } from "vitest";
import { requirements } from "../requirements.ts";
import { readClaims } from "./claims.ts";

const ids = new Set(requirements.map(({ id }) => id));
const claims = readClaims();

it("every promise is proved by a test that names it", () => {
  const proved = new Set(claims.map(({ id }) => id));
  expect(requirements.filter(({ id }) => !proved.has(id)).map(({ id }) => id)).toEqual([]);
});

it("every promise that a test names is on the list", () => {
  const unknown = claims.filter(({ id }) => id.includes(".") && !ids.has(id));
  expect(unknown).toEqual([]);
});

it("no promise is listed twice", () => {
  expect(ids.size).toBe(requirements.length);
});
