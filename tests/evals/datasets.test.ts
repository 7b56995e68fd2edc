import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCsv } from "../../evals/csv.ts";
import { isWanted, readDataset, refuseDoubles } from "../../evals/datasets.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane dataset-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(name: string, content: string | Uint8Array) {
  const file = join(folder, name);
  await writeFile(file, content);
  const { tasks, bad } = await readDataset(file);
  return { tasks, bad: bad.map((one) => `${basename(one.file)}:${one.line}: ${one.problem}`) };
}

const line = (id: string, more: object = {}) =>
  JSON.stringify({ id, input: { task: id }, ...more });

describe("datasets", () => {
  it("are the same tasks in every format", async () => {
    const expected = { files_changed: ["a.py"], tests_pass: true };
    const whole = {
      id: "t",
      name: "T",
      input: { task: "do, it", n: 3 },
      expected,
      tags: ["x", "y"],
      difficulty: "easy",
    };
    const jsonl = await read("a.jsonl", `\n${JSON.stringify(whole)}\n\n`);
    const same = [
      await read("a.json", JSON.stringify([whole], null, 2)),
      await read("b.json", JSON.stringify({ tasks: [whole] })),
      await read(
        "a.yaml",
        "- id: t\n  name: T\n  input: { task: 'do, it', n: 3 }\n  expected: { files_changed: [a.py], tests_pass: true }\n  tags: [x, y]\n  difficulty: easy\n",
      ),
      await read(
        "a.csv",
        'id,name,input.task,input.n,expected.files_changed,expected.tests_pass,tags,difficulty\r\nt,T,"do, it",3,"[""a.py""]",true,x; y,easy\r\n',
      ),
    ];
    const plain = ({ tasks, bad }: typeof jsonl) => ({
      tasks: tasks.map(({ from: _from, ...task }) => task),
      bad,
    });
    expect(plain(jsonl).tasks[0]).toEqual({
      ...whole,
      description: "",
      category: "general",
      config: {},
    });
    for (const one of same) expect(plain(one)).toEqual(plain(jsonl));
    await mkdir(join(folder, "set"));
    await writeFile(join(folder, "set", "tasks.jsonl"), line("in a folder"));
    expect((await readDataset(join(folder, "set"))).tasks).toHaveLength(1);
  });

  it("name file, line and field of what is wrong, and keep the rest [evals.datasets]", async () => {
    const { tasks, bad } = await read(
      "bad.jsonl",
      [
        line("good"),
        '{"id": "torn',
        line("typo", { exspected: {} }),
        line("late", { difficulty: 3 }),
        '{"id": "none"}',
        '{"id": "big", "input": {"n": 9007199254740993}}',
        '{"id": "list", "input": []}',
        line("last"),
      ].join("\n"),
    );
    expect(tasks.map(({ id, from }) => [id, from.line])).toEqual([
      ["good", 1],
      ["last", 8],
    ]);
    expect(bad).toEqual([
      expect.stringMatching(/^bad\.jsonl:2: is not JSON .*expected one task a line$/u),
      expect.stringMatching(/^bad\.jsonl:6: .*9007199254740993/u),
      expect.stringMatching(/^bad\.jsonl:3: exspected: .*did you mean "expected"/u),
      expect.stringMatching(/^bad\.jsonl:4: difficulty: expected a string/u),
      expect.stringMatching(/^bad\.jsonl:5: expected `input`/u),
      expect.stringMatching(/^bad\.jsonl:7: input: expected an object/u),
    ]);
  });

  it.each([
    [
      "x.yaml",
      "- id: a\n  input: {}\n- id: b\n  inptu: {}\n",
      /^x\.yaml:3: inptu: there is no key.*did you mean "input"/u,
    ],
    ["y.yaml", "a: [", /^y\.yaml:\d+: is not YAML or JSON/u],
    ["z.yaml", "just: text\n", /^z\.yaml:0: expected a list of tasks/u],
    ["c.csv", 'id,input.task\n"a,b\n', /^c\.csv:2: a cell's quote is never closed$/u],
    ["d.csv", "id,input.task\na,b,c\n", /^d\.csv:2: has 3 cells: expected 2/u],
    ["few.csv", "id,input.task,tags\na,b\n", /^few\.csv:2: has 2 cells: expected 3/u],
    ["twice.csv", "id,input.task,id\na,b,c\n", /^twice\.csv:1: names "id" twice/u],
    ["e.txt", "text", /^e\.txt:0: expected one of \.jsonl/u],
    ["f.jsonl", "", /^f\.jsonl:0: it holds no task$/u],
    ["g.jsonl", Buffer.from([0xff, 0xfe]), /^g\.jsonl:0: is not UTF-8$/u],
  ])("%s is refused with its place [evals.datasets]", async (name, content, problem) => {
    const { bad } = await read(name, content);
    expect(bad[0]).toMatch(problem);
  });

  it("hold each id once, and filter by every list that is given", async () => {
    const { tasks } = await read(
      "ids.jsonl",
      [
        line("a", { category: "x", tags: ["t"] }),
        line("b", { category: "y", tags: ["t"] }),
        line("a"),
      ].join("\n"),
    );
    const { tasks: single, bad } = refuseDoubles(tasks);
    expect(bad.map(({ line: at, problem }) => [at, problem])).toEqual([
      [3, expect.stringMatching(/"a" is that of .*ids\.jsonl:1 too/u)],
    ]);
    const wanted = (filter: Parameters<typeof isWanted>[1]) =>
      single.filter((task) => isWanted(task, filter)).map(({ id }) => id);
    expect([
      wanted({}),
      wanted({ tags: ["t"], categories: ["y"] }),
      wanted({ ids: ["a"] }),
      wanted({ difficulty: ["hard"] }),
    ]).toEqual([["a", "b"], ["b"], ["a"], []]);
  });

  it("read whatever CSV can hold", () => {
    const cell = fc.string({ unit: fc.constantFrom("a", '"', ",", "\n", "\r\n", "é", " ") });
    const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
    fc.assert(
      fc.property(
        fc.array(fc.array(cell, { minLength: 1, maxLength: 4 }), { maxLength: 5 }),
        (rows) => {
          const text = rows.map((cells) => cells.map(quoted).join(",")).join("\n");
          const read_ = readCsv(text);
          const full = rows.filter((cells) => cells.some((one) => one !== ""));
          expect(Array.isArray(read_) && read_.map(({ cells }) => cells)).toEqual(full);
        },
      ),
    );
  });
});
