import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findContainers } from "../../actors/step/find-json.ts";
import { defaultOptions } from "../../actors/options.ts";
import type { ActivityScope } from "../../actors/step/session.ts";
import { outputSchemaProblem, validate } from "../../actors/step/validate.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { Job, StepType } from "../../machines/contracts/domain/job.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import {
  llmInput,
  readMessages,
  stepInputProblem,
} from "../../machines/contracts/domain/step-input.ts";
import { jsonValues } from "./json-objects.ts";
import { cpuMs } from "../support/cpu-time.ts";

const schemas = createSchemaChecker();

function jobOf(stepType: StepType, input: JsonObject): Job {
  const nobody = { tenantId: null, projectId: null, agentId: null };
  const ids = { runId: "run_1", stepId: "stp_1", traceId: null, spanId: null };
  return { ...ids, ...nobody, stepType, input, createdAt: null };
}

async function check(stepType: StepType, schema: JsonObject | null, output: unknown) {
  const job = jobOf(stepType, schema === null ? {} : { output_schema: schema });
  const session = { ownSecrets: () => null, log: { info() {} } };
  const scope = {
    ports: { schemas },
    options: defaultOptions,
    session,
    context: { output, job },
  } as unknown as ActivityScope;
  return validate(scope);
}

const answered = (response: string) => ({ response, model: "m" });
const word = { type: "object", properties: { word: { type: "string" } }, required: ["word"] };

describe("a model's answer", () => {
  it.each([
    ["plain", '{"word":"a"}'],
    ["a fenced block", 'Here:\n```json\n{"word":"a"}\n```\nDone.'],
    ["a block of another label", '```javascript\n{"word":"a"}\n```'],
    ["a block with spaces before it", 'So:\n  ```\n  {"word":"a"}\n  ```'],
    ["a block after another", '```\nls -l\n```\n\n```JSON\r\n{"word":"a"}\r\n```'],
    ["a block that is left open", '```json\n{"word":"a"}'],
    ["fences within its text", '{"word":"a", "code":"\\n```\\n[1]\\n```\\n"}'],
    ["brackets within prose", 'The answer [of today]: {"word":"a"}. That is all.'],
    ["a block of tildes", '~~~json\n{"word":"a"}\n~~~'],
    ["a block on one line", 'So: ```{"word":"a"}``` it is.'],
    ["prose with brackets that never close", 'Use { and [ as "they are [: {"word":"a"} {'],
    ["prose with a quotation mark", 'He said {"the word is: {"word":"a"}'],
    ["references", 'As said in [1] and [2, 3], {see} [4]: {"word":"a"} [5]'],
    ["what is said again after a break", '{"word": {"wo\n\nOnce more: {"word":"a"}'],
    ["the outermost of two", 'So {"word":"a","more":{"word":1}} it is'],
    ["what follows thinking", '<think>Perhaps {"word":"draft"}?</think>\n{"word":"a"}'],
    ["what follows thinking without its beginning", 'So [1] {"word":"draft"}.</think>{"word":"a"}'],
    ["the last of several", 'Wrong would be {"word":"draft"}. My answer: {"word":"a"}'],
    ["the last block", '```\n{"word":"draft"}\n```\nNo:\n```\n{"word":"a"}\n```'],
    ["the second block of the right shape", '```json\n{"no":1}\n```\n```json\n{"word":"a"}\n```'],
  ])("is found in %s [output.parsed]", async (_, response) => {
    expect(await check("llm", word, answered(response))).toMatchObject({
      type: "output.valid",
      output: { response, data: { word: "a" } },
    });
  });

  it("is found wherever it stands among prose and blocks [output.parsed]", async () => {
    const prose = fc.stringMatching(/^[a-z .\n]{0,40}$/);
    const data = fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), jsonValues, { maxKeys: 3 });
    await fc.assert(
      fc.asyncProperty(prose, prose, data, fc.boolean(), async (before, after, value, isFenced) => {
        const text = JSON.stringify({ word: "a", more: value });
        const inner = isFenced ? `\n\`\`\`any\n${text}\n\`\`\`\n` : text;
        const said = await check("llm", word, answered(`${before}${inner}${after}`));
        expect(said).toMatchObject({ type: "output.valid" });
      }),
    );
  });

  it("is found in prose with brackets, quotation marks and tags of its own [output.parsed]", async () => {
    const bit = fc.constantFrom(
      "{",
      "[",
      '"',
      "]",
      "}",
      ":",
      ",",
      " ",
      "\n",
      "a",
      "1",
      "```",
      "\\",
      "{}",
      "[1]",
    );
    const prose = fc.array(bit, { maxLength: 25 }).map((bits) => bits.join(""));
    const data = fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), jsonValues, { maxKeys: 3 });
    await fc.assert(
      fc.asyncProperty(prose, prose, data, async (before, after, value) => {
        const text = JSON.stringify({ word: "a", more: value });
        const said = await check("llm", word, answered(`${before}\n${text}\n${after}`));
        // What prose leaves open may hold the answer.
        const isOpen = [...before].reduce(
          (depth, sign) =>
            Math.max(0, depth + (/[[{]/u.test(sign) ? 1 : /[\]}]/u.test(sign) ? -1 : 0)),
          0,
        );
        if (isOpen === 0) expect(said).toMatchObject({ type: "output.valid" });
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ["an object that is not closed", '{"answer": {"word":"a"}'],
    [
      "an object within a string's wrong quotation marks",
      '{"say": "so {"word":"a"} it", "word": 1}',
    ],
    ["a list that is not closed", '[{"word":"a"},{"word":"b"}'],
    ["an object with a comma too many", '{"answer": {"word":"a"},}'],
    ["a list with a word out of place", '[{"no":1}, oops, {"word":"a"}]'],
    ["an object with a comment", '{"list": [ {"no":1}, // and\n {"word":"a"} ] }'],
  ])("is no part of %s [output.broken]", async (_, response) => {
    const said = await check("llm", word, answered(response));
    expect(said).toMatchObject({ type: "output.invalid", repairable: true });
  });

  it("is never a part of one that was cut or spoilt [output.broken]", async () => {
    const inner = { word: "a" };
    const whole = fc.oneof(
      fc.record({ more: jsonValues, list: fc.constant([inner, inner]) }),
      fc.record({ answer: fc.constant(inner), more: jsonValues }),
      fc.array(fc.constant(inner), { minLength: 1, maxLength: 4 }),
    );
    const share = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
    await fc.assert(
      fc.asyncProperty(whole, share, share, async (value, cutAt, spoiltAt) => {
        const text = JSON.stringify(value);
        // Every proper beginning of it, and it with a sign that its grammar does not have.
        const cut = text.slice(0, Math.max(1, Math.floor(text.length * cutAt)));
        const commas = [...text.matchAll(/\},/gu)].map(({ index }) => index + 1);
        const at = commas[Math.floor(commas.length * spoiltAt)];
        const spoilt = at === undefined ? cut : `${text.slice(0, at)};${text.slice(at + 1)}`;
        for (const response of [cut, spoilt]) {
          const said = await check("llm", word, answered(response));
          expect(said.type, response).toBe("output.invalid");
        }
      }),
      { numRuns: 500 },
    );
  });

  it("finds every container that JSON.parse takes, and nothing else [output.parsed]", () => {
    const value = fc.oneof(
      fc.array(jsonValues, { maxLength: 4 }),
      fc.dictionary(fc.string(), jsonValues),
    );
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 4 }), (values) => {
        const text = values.map((each) => JSON.stringify(each)).join(" and ");
        const found = [...findContainers(text)].map(({ from, to }) => text.slice(from, to));
        expect(found).toEqual(values.map((each) => JSON.stringify(each)));
      }),
    );
    const bits = fc.constantFrom("{", "[", '"', "]", "}", ":", ",", "1", "a", "\\", "true");
    fc.assert(
      fc.property(fc.array(bits, { maxLength: 40 }), (all) => {
        const text = all.join("");
        for (const { from, to } of findContainers(text)) {
          expect(() => JSON.parse(text.slice(from, to)) as unknown).not.toThrow();
        }
      }),
      // An escape that JSON does not know makes no string.
      { numRuns: 2_000, examples: [[["[", '"', "\\", "{", '"', "]"]]] },
    );
  });

  it("that thinks to its end has answered nothing [output.parsed]", async () => {
    const said = await check("llm", word, answered('<think> Perhaps {"word":"a"}? No, wait'));
    expect(said).toMatchObject({ type: "output.invalid" });
  });

  it("that only looks like JSON takes no longer than its length [output.linear]", async () => {
    const units = [
      "```\n",
      "\n",
      "``` ",
      "[",
      "{",
      "[[",
      '{"a":',
      "```\n{}\n",
      '["',
      '[ "[',
      '["\\"',
      '{"a":[',
      "[1,",
      '{"',
      "[]",
      "{} ",
      "[1] ",
      '"',
      '"{',
      "</think>",
      "<think>[",
      "[1e",
      "[-",
      '[{"a":"',
    ];
    const took = async (unit: string, length: number) => {
      const text = unit.repeat(length / unit.length);
      const since = cpuMs();
      const said = await check("llm", word, answered(text));
      expect(said).toMatchObject({ type: "output.invalid", repairable: true });
      return cpuMs() - since;
    };
    for (const unit of units) {
      const short = await took(unit, 50_000);
      const long = await took(unit, 400_000);
      // Eight times the length: what grows with its square would take sixty-four times as long.
      expect(long, unit).toBeLessThan(24 * Math.max(short, 8));
    }
  });

  it("that is wrong is shown to the model when it is asked again [output.repair]", async () => {
    const said = await check("llm", word, answered('{"word":1}'));
    expect(said).toMatchObject({
      type: "output.invalid",
      repairable: true,
      answer: '{"word":1}',
      failure: { message: "the output breaks its schema: /word must be string" },
    });
  });

  it("with a number that a double cannot hold is told so [number.exact]", async () => {
    expect(await check("llm", {}, answered('{"id":9007199254740993}'))).toMatchObject({
      type: "output.invalid",
      failure: { message: expect.stringContaining("9007199254740993") },
    });
  });
});

describe("a handler's output", () => {
  it("is held to its schema without what screening says beside it, and keeps that where the schema has a place for it [screening.rules]", async () => {
    const schema = { type: "object", properties: { result: {} } };
    const known = { rule: "secrets", kind: "cookie", at: "/result", count: 1, action: "redacted" };
    const output = { result: "password=hunter2222", screening_findings: [known] };
    expect(await check("tool", schema, output)).toEqual({
      type: "output.valid",
      output: {
        result: "password=[redacted]",
        screening_findings: [known, { ...known, kind: "named-secret" }],
      },
    });
    expect(await check("tool", { ...schema, additionalProperties: false }, output)).toEqual({
      type: "output.valid",
      output: { result: "password=[redacted]" },
    });
  });

  it("is JSON and well-formed when it leaves, or is refused [text.well-formed]", async () => {
    expect(await check("tool", null, { a: "x\0\ud800" })).toEqual({
      type: "output.valid",
      output: { a: "x\uFFFD\uFFFD" },
    });
    for (const odd of [{ a: Number.NaN }, [1n], { f: () => 1 }, Number.POSITIVE_INFINITY]) {
      expect(await check("tool", null, odd)).toMatchObject({ failure: { kind: "invalid_output" } });
    }
    let deep: Json = 1;
    for (let level = 0; level < 10_000; level += 1) deep = [deep];
    expect(await check("tool", null, deep)).toMatchObject({
      failure: { message: "the output is nested deeper than 64 levels" },
    });
  });

  it("is held to the schema, and never mended", async () => {
    expect(await check("retrieval", word, { word: "a" })).toMatchObject({ type: "output.valid" });
    expect(await check("retrieval", word, {})).toMatchObject({ repairable: false });
  });
});

describe("a step's input", () => {
  it.each<[string, JsonObject, RegExp]>([
    ["$async", { $async: true }, /can't be used: uses \$async/],
    ["a type that is none", { type: "texts" }, /can't be used: \/type/],
    [
      "a pattern without linear time",
      { pattern: "^(?=a)" },
      /pattern "\^\(\?=a\)" can't be matched/,
    ],
    ["a reference to nowhere", { $ref: "#/$defs/none" }, /can't be used: can't resolve/],
  ])("is refused for an output_schema with %s, before anything is paid", (_, schema, message) => {
    expect(outputSchemaProblem(schemas, jobOf("llm", { output_schema: schema }))).toMatchObject({
      kind: "invalid_input",
      message: expect.stringMatching(message),
    });
  });

  it("may have null wherever it may have nothing, as FerrumDeck's has [input.ferrumdeck]", () => {
    const nothing: [StepType, JsonObject][] = [
      ["llm", { task: null, messages: null, temperature: null, max_tokens: null, model: null }],
      ["tool", { tool_name: "t", tool_input: null, allowed_tools: null }],
      ["retrieval", { query: "q", documents: [{}, { content: null }], top_k: null, backend: null }],
      ["sandbox", { code: "1", env: null, files: null, language: null, timeout_seconds: null }],
      ["approval", { message: null }],
    ];
    for (const [stepType, input] of nothing) expect(stepInputProblem(stepType, input)).toBeNull();
  });

  it("may have a conversation as OpenAI's API has it [input.ferrumdeck]", () => {
    const call = (id: string, args: unknown) => ({
      id,
      type: "function",
      function: { name: "look", arguments: args },
    });
    const input = llmInput().assert({
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "a" },
            { type: "text", text: "b" },
          ],
        },
        {
          role: "assistant",
          content: null,
          tool_calls: [call("c1", '{"x":1}'), call("c2", ""), call("c3", "{")],
        },
        { role: "tool", tool_call_id: "c1", content: "found" },
        { role: "assistant", content: "done", tool_calls: null },
      ],
    });
    expect(readMessages(input.messages)).toEqual([
      { role: "user", content: "ab" },
      {
        role: "assistant",
        content: "",
        toolCalls: [
          { id: "c1", name: "look", arguments: { x: 1 } },
          { id: "c2", name: "look", arguments: {} },
          {
            id: "c3",
            name: "look",
            arguments: null,
            problem: "the arguments are not a JSON object",
          },
        ],
      },
      { role: "tool", toolCallId: "c1", content: "found" },
      { role: "assistant", content: "done" },
    ]);
  });

  it("may have it with objects for arguments and a developer, and an empty one is none [input.ferrumdeck]", () => {
    const called = { id: "c1", function: { name: "look", arguments: { x: 1 } } };
    const input = llmInput().assert({
      messages: [
        { role: "developer", content: "Be brief." },
        { role: "assistant", tool_calls: [called, { ...called, function: { name: "look" } }] },
        { role: "tool", tool_call_id: "c1", content: null },
      ],
    });
    expect(readMessages(input.messages)).toEqual([
      { role: "system", content: "Be brief." },
      {
        role: "assistant",
        content: "",
        toolCalls: [
          { id: "c1", name: "look", arguments: { x: 1 } },
          { id: "c1", name: "look", arguments: {} },
        ],
      },
      { role: "tool", toolCallId: "c1", content: "" },
    ]);
    expect(readMessages([])).toBeNull();
    expect(readMessages(null)).toBeNull();
  });

  it("with a part that is no text is refused by its place", () => {
    const messages = [{ role: "user", content: [{ type: "image_url", image_url: {} }] }];
    expect(stepInputProblem("llm", { messages })?.message).toMatch(/messages\[0\]/);
  });
});
