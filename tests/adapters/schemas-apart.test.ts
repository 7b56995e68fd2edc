import { expect, it } from "vitest";
import { createSchemasApart } from "../../adapters/schemas/check-apart.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";

/** Near the bound of what patterns may be together, and another at each call. */
function costly(nth: number): JsonObject {
  const text = `a.{1000}${nth}x`;
  const properties = Array.from({ length: 150 }, (_, at) => [`p${at}`, { pattern: text + at }]);
  return { properties: Object.fromEntries(properties) as JsonObject };
}

/** Milliseconds of a processor that this thread has used. */
function ownMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

it("[schema.apart] a schema that takes long to compile is compiled in a thread, and says the same", async () => {
  const alone = ownMs();
  createSchemaChecker().compile(costly(0));
  const whole = ownMs() - alone;
  const schemas = createSchemasApart();
  try {
    const begun = ownMs();
    const said = await Promise.all([
      schemas.check("one", costly(1), { p3: "no" }),
      schemas.check("one", costly(2), { p3: `a${"-".repeat(1_000)}2x3` }),
      schemas.check("one", costly(3), {}),
      schemas.check("one", { properties: { a: { pattern: "^b$" } } }, { a: "c" }),
      schemas.check("one", { type: 1, properties: costly(4) }, {}),
    ]);
    expect(said.map(({ kind }) => kind)).toEqual([
      "invalid",
      "valid",
      "valid",
      "invalid",
      "unusable",
    ]);
    expect(ownMs() - begun).toBeLessThan(whole);
  } finally {
    await schemas.close();
  }
});

it("[schema.apart] nobody waits for more than one of each other's checks", async () => {
  const schemas = createSchemasApart();
  const order: string[] = [];
  const ask = (owner: string, nth: number) =>
    schemas.check(owner, costly(nth), {}).then(() => order.push(owner));
  try {
    await Promise.all([ask("many", 1), ask("many", 2), ask("many", 3), ask("one", 4)]);
    expect(order).toEqual(["many", "one", "many", "many"]);
  } finally {
    await schemas.close();
  }
});

it("[schema.apart] a thread that ends leaves no question open, and the next one starts another", async () => {
  const schemas = createSchemasApart();
  const open = schemas.check("one", costly(1), {});
  await schemas.close();
  expect((await open).kind).toBe("unusable");
  expect((await schemas.check("one", costly(1), {})).kind).toBe("valid");
  await schemas.close();
});

it("[schema.apart] what is asked while the thread ends, because nobody asked for long, is checked all the same", async () => {
  const schemas = createSchemasApart();
  await schemas.check("one", costly(1), {});
  const ending = schemas.close();
  expect(await schemas.check("one", costly(2), { p3: "no" })).toMatchObject({ kind: "invalid" });
  await ending;
  await schemas.close();
});
