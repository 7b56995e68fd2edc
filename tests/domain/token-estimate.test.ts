import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { countTokens } from "gpt-tokenizer/encoding/o200k_base";
import { countTokens as countOlder } from "gpt-tokenizer/encoding/cl100k_base";
import { expect, test } from "vitest";
import { estimateInput, estimateNext, estimateTokens } from "../../actors/step/token-estimate.ts";

const real = (text: string) => Math.max(countTokens(text), countOlder(text));

const samples: [string, string][] = [
  ["English", readFileSync("README.md", "utf8").slice(0, 20_000)],
  ["code", readFileSync("actors/step/effects.ts", "utf8")],
  ["JSON", readFileSync("package-lock.json", "utf8").slice(0, 20_000)],
  ["Chinese", "人工智能代理的数据平面运行每一个步骤，并且只报告一次结果。".repeat(40)],
  ["Japanese", "エージェントの各ステップは状態機械であり、結果は一度だけ報告されます。".repeat(40)],
  [
    "Russian",
    "Каждый шаг агента выполняется под надзором и сообщается ровно один раз. ".repeat(40),
  ],
  ["Hindi", "प्रत्येक चरण एक अवस्था मशीन है और परिणाम केवल एक बार बताया जाता है। ".repeat(40)],
  ["base64", Buffer.from(readFileSync("package.json")).toString("base64").slice(0, 4_000)],
  ["hexadecimal", Buffer.from(readFileSync("package.json")).toString("hex").slice(0, 4_000)],
];

test.each(samples)(
  "%s is estimated from above, and not at more than three times [budget.estimate]",
  (_, text) => {
    const tokens = real(text);
    expect(estimateTokens(text)).toBeGreaterThanOrEqual(tokens);
    expect(estimateTokens(text)).toBeLessThanOrEqual(3 * tokens);
  },
);

/** No language has words such as "bfbh": of these a tokenizer makes a token of nearly every letter. */
test("JSON of any content is hardly ever more than its estimate, and then by a quarter [budget.estimate]", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 3 }), (text) => {
      expect(1.25 * estimateTokens(text) + 2).toBeGreaterThanOrEqual(countTokens(text));
    }),
    { numRuns: 3_000 },
  );
});

test("what goes on with a counted conversation is estimated by what was added [budget.estimate]", () => {
  const user = { role: "user" as const, content: "word ".repeat(1_000) };
  const said = { role: "assistant" as const, content: "yes" };
  const more = { role: "user" as const, content: "and then?" };
  const last = { model: "m", messages: [user] };
  const counted = { request: last, inputTokens: 1_010 };
  const next = { model: "m", messages: [user, said, more] };
  const added = estimateInput({ messages: [said, more] });
  expect(estimateNext(next, counted)).toBe(1_010 + added);
  expect(estimateNext(next, null)).toBe(estimateInput(next));
  // Another model, another beginning: all of it is estimated.
  const whole = estimateInput(next);
  expect(estimateNext({ ...next, model: "n" }, counted)).toBe(whole);
  expect(estimateNext({ ...next, messages: [more, said, more] }, counted)).toBe(
    estimateInput({ messages: [more, said, more] }),
  );
  expect(estimateNext(next, { ...counted, inputTokens: 1_000_000 })).toBe(whole);
});

test("all that is sent counts: messages, calls, tools and the schema of the answer", () => {
  const messages = [{ role: "user" as const, content: "hello" }];
  const plain = estimateInput({ messages });
  const tool = { name: "read", description: "reads a file", inputSchema: { type: "object" } };
  expect(estimateInput({ messages, tools: [tool] })).toBeGreaterThan(plain);
  expect(estimateInput({ messages, responseSchema: { type: "object" } })).toBeGreaterThan(plain);
  const toolCalls = [{ id: "1", name: "read", arguments: { path: "x".repeat(300) } }];
  const withCalls = [...messages, { role: "assistant" as const, content: "", toolCalls }];
  expect(estimateInput({ messages: withCalls })).toBeGreaterThan(plain + 100);
});
