import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createLocalRetriever } from "../../adapters/retrieval/local.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";

const never = new AbortController().signal;

async function find(query: string, documents: JsonObject[], topK = 10) {
  const request = { query, collection: "default", topK, documents };
  const outcome = await createLocalRetriever().retrieve(request, never);
  if (!outcome.ok) throw new Error(outcome.failure.message);
  return outcome.value;
}
const texts = (documents: JsonObject[]) => documents.map((document) => document["content"]);

test("what matches best comes first, with its score and all else it carried", async () => {
  const { documents, totalFound } = await find("lease fence", [
    { id: 1, content: "The weather is fine." },
    { id: 2, content: "A lease is a right to a job." },
    { id: 3, content: "The fence grows with every lease." },
  ]);
  expect(documents.map(({ id }) => id)).toEqual([3, 2]);
  expect(totalFound).toBe(2);
  expect(documents[0]?.["score"]).toBeGreaterThan(Number(documents[1]?.["score"]));
});

test("a rare word weighs more than a common one, and a long document less than a short one", async () => {
  const documents = [
    { content: "common common common" },
    { content: "common rare" },
    { content: "common" },
    { content: `rare ${"filler ".repeat(50)}` },
  ];
  expect(texts((await find("common rare", documents)).documents)[0]).toBe("common rare");
  expect(texts((await find("rare", documents)).documents)[0]).toBe("common rare");
});

test("only top_k come back, but all that were found are counted", async () => {
  const documents = Array.from({ length: 20 }, (_, id) => ({ id, content: "same words" }));
  const found = await find("words", documents, 3);
  expect(found.documents.map(({ id }) => id)).toEqual([0, 1, 2]);
  expect(found.totalFound).toBe(20);
});

test.each([
  ["STRASSE", "Die Straße ist lang"],
  ["ÉCOLE", "l'école"],
  ["東京", "私は東京に住んでいます"],
  ["ﬁle", "a file"],
  ["Ελλάδα", "ΕΛΛΆΔΑ"],
  ["ecole", "L'ÉCOLE est finie"],
  ["naïve", "naive"],
  ["istanbul", "İSTANBUL"],
  ["İstanbul", "Istanbul, ıstanbul"],
  ["ISTANBUL", "ıstanbul"],
  ["도쿄", "나는 도쿄에서 산다"],
  ["책", "책을 읽는다"],
  ["검색엔진은", "검색엔진"],
  ["전문", "전문 검색, full-text검색"],
  ["ゲーム", "新しいゲームです"],
])(
  "the query %s finds %j, whatever the script, case or accents [retrieval.words]",
  async (query, content) => {
    expect((await find(query, [{ content: "something else" }, { content }])).totalFound).toBe(1);
  },
);

test("a mark that makes another letter is no accent", async () => {
  expect((await find("かき", [{ content: "がき" }])).totalFound).toBe(0);
});

test("a text finds itself without its accents, composed or not, in either case [retrieval.words]", async () => {
  const letter = fc.constantFrom(..."abcdeéèüñçåôižřőşğİıßøΑάέώйёА1 ");
  const forms = fc.constantFrom<(text: string) => string>(
    (text) => text.normalize("NFD"),
    (text) => text.normalize("NFC"),
    (text) => text.toUpperCase(),
    (text) => text.toLowerCase(),
    (text) => text.normalize("NFD").replaceAll(/[\u0300-\u036f]/gu, ""),
  );
  const text = fc.string({ unit: letter, minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(text, forms, async (content, form) => {
      fc.pre(content.trim() !== "");
      expect((await find(form(content), [{ content }])).totalFound).toBe(1);
    }),
  );
});

test("half a word is no word", async () => {
  expect((await find("cat", [{ content: "concatenate" }])).totalFound).toBe(0);
});

test("documents without a text, queries without a word, and no documents at all find nothing", async () => {
  const nothing = { documents: [], totalFound: 0, passedOver: 0 };
  expect(await find("x", [{ content: 5 }, { title: "x" }, { content: "" }])).toEqual({
    ...nothing,
    passedOver: 3,
  });
  expect(await find("?! …", [{ content: "x" }])).toEqual(nothing);
  expect(await find("x", [])).toEqual(nothing);
});

test("scores are finite and fall, whatever is asked of whatever", async () => {
  const text = fc.string({ unit: "binary", maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(text, fc.array(text, { maxLength: 8 }), async (query, contents) => {
      const { documents } = await find(
        query,
        contents.map((content) => ({ content })),
      );
      const scores = documents.map(({ score }) => Number(score));
      expect(scores.every((score) => Number.isFinite(score) && score > 0)).toBe(true);
      expect(scores).toEqual([...scores].sort((a, b) => b - a));
    }),
  );
});

test("a retrieval that was cancelled finds nothing and says why", async () => {
  const request = { query: "x", collection: "default", topK: 1, documents: [] };
  expect(await createLocalRetriever().retrieve(request, AbortSignal.abort())).toMatchObject({
    failure: { kind: "cancelled" },
  });
});

test("a job of two mebibytes does not hold the event loop [retrieval.bounds]", async () => {
  const query = Array.from({ length: 8_000 }, (_, at) => `w${at}`).join(" ");
  const documents = Array.from({ length: 2_000 }, (_, at) => ({
    content: `w${at} ﷺ ${"filler ".repeat(140)}`,
  }));
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  // One text as long as all of them: it is read in pieces, with turns of the loop between.
  const { totalFound } = await find(query, [
    ...documents.slice(0, 10),
    { content: documents.map(({ content }) => content).join(" ") },
  ]);
  isOver = true;
  expect(totalFound).toBe(11);
  expect(turns).toBeGreaterThan(50);
});

test("the loop gets its turns however the characters are spread over documents [retrieval.bounds]", async () => {
  const characters = 512 * 1024;
  const spread = fc.constantFrom(1, 7, 64, 500, 5_000, 10_000);
  const letter = fc.constantFrom("w ", "ﷺ", "東京", "é ", "😀", "\ud800");
  await fc.assert(
    fc.asyncProperty(spread, letter, async (count, unit) => {
      const content = unit.repeat(Math.floor(characters / count / unit.length));
      let turns = 0;
      let isOver = false;
      const turn = (): void => {
        turns += 1;
        if (!isOver) setImmediate(turn);
      };
      setImmediate(turn);
      await find(
        "w",
        Array.from({ length: count }, () => ({ content })),
      );
      isOver = true;
      // A piece is 8 KiB, and a document of no length counts as well.
      expect(turns).toBeGreaterThan((content.length * count) / (16 * 1024));
    }),
    { numRuns: 10 },
  );
});

test.each([
  ["documents", "x", Array.from({ length: 10_001 }, () => ({ content: "x" }))],
  ["characters", "x", [{ content: "x".repeat(4 * 1024 * 1024 + 1) }]],
  ["characters", "x".repeat(64 * 1024 + 1), [{ content: "x" }]],
])("too many %s are refused by name [retrieval.bounds]", async (what, query, documents) => {
  const request = { query, collection: "default", topK: 1, documents };
  const outcome = await createLocalRetriever().retrieve(request, never);
  expect(outcome).toMatchObject({ ok: false, failure: { kind: "invalid_input" } });
  expect(outcome.ok ? "" : outcome.failure.message).toContain(`${what} are searched`);
});
