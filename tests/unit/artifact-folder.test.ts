import { createHash } from "node:crypto";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";

let path: string;
let store: ArtifactStore;
const step = { runId: "run_01", stepId: "step_01" };
const output = { name: "out.json", kind: "output", content: '{"a":1}' } as const;

beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "artifacts-"));
  store = createArtifactFolder({ path });
});
afterEach(() => rm(path, { recursive: true }));

async function put(content: string | Uint8Array = output.content) {
  const outcome = await store.put(step, { ...output, content });
  if (!outcome.ok) throw new Error(outcome.failure.message);
  return outcome.value;
}

test("what is put comes back the same, bytes or text, with its checksum and size", async () => {
  const bytes = Uint8Array.from([0, 255, 10, 13, 128]);
  const ref = await put(bytes);
  expect(ref).toMatchObject({ ...step, name: "out.json", kind: "output", size: 5 });
  expect(ref.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
  const got = await store.get("run_01", ref.id);
  expect(got).toMatchObject({ ok: true, value: { ref } });
  expect(got.ok && [...got.value.content]).toEqual([...bytes]);
  expect((await put("grüße")).size).toBe(7);
});

test("the layout is FerrumDeck's, and no draft is left in it", async () => {
  const { id, sha256 } = await put();
  const folder = join(path, "run_01", "artifacts", id);
  expect((await readdir(folder)).sort()).toEqual(["content", "metadata.json"]);
  expect(await readFile(join(folder, "content"), "utf8")).toBe('{"a":1}');
  expect(JSON.parse(await readFile(join(folder, "metadata.json"), "utf8"))).toMatchObject({
    id,
    run_id: "run_01",
    step_id: "step_01",
    sha256,
  });
});

test("the same artifact put twice, even at once, is kept once; other content beside it", async () => {
  const [one, two] = await Promise.all([put(), put()]);
  expect(one.id).toBe(two.id);
  await put("other");
  const sizes = (await store.list("run_01")).map(({ size }) => size);
  expect(sizes.sort()).toEqual([5, 7]);
  expect(await store.list("run_02")).toEqual([]);
});

test("a changed, shortened or lost content is told from a sound one", async () => {
  const { id } = await put();
  const content = join(path, "run_01", "artifacts", id, "content");
  await writeFile(content, '{"a":2}');
  expect(await store.get("run_01", id)).toMatchObject({ failure: { kind: "corrupt_record" } });
  await rm(content);
  expect(await store.get("run_01", id)).toMatchObject({ failure: { kind: "corrupt_record" } });
  await writeFile(join(path, "run_01", "artifacts", id, "metadata.json"), "{}");
  expect(await store.get("run_01", id)).toMatchObject({ failure: { kind: "corrupt_record" } });
  expect(await store.list("run_01")).toEqual([]);
});

test("what is deleted is gone, once", async () => {
  const { id } = await put();
  expect(await store.delete("run_01", id)).toBe(true);
  expect(await store.delete("run_01", id)).toBe(false);
  expect(await store.get("run_01", id)).toMatchObject({ failure: { kind: "not_found" } });
  expect(await readdir(join(path, "run_01", "artifacts"))).toEqual([]);
});

test.each([
  "..",
  "../other",
  "/etc",
  "a/b",
  "",
  ".hidden",
  "a..b",
  "a\0b",
  "x".repeat(256),
  "a\\b",
])("the name %j leads nowhere", async (name) => {
  await put();
  expect(await store.put({ runId: name, stepId: "s" }, output)).toMatchObject({
    failure: { kind: "invalid_input", retryable: false },
  });
  expect(await store.get(name, "abc")).toMatchObject({ failure: { kind: "invalid_input" } });
  expect(await store.get("run_01", name)).toMatchObject({ failure: { kind: "invalid_input" } });
  expect(await store.list(name)).toEqual([]);
  expect(await store.delete("run_01", name)).toBe(false);
  expect(await store.delete(name, "abc")).toBe(false);
  expect(await readdir(path)).toEqual(["run_01"]);
  expect(await store.list("run_01")).toHaveLength(1);
});

test("an artifact's own name and its step's may be anything, for they are no paths", async () => {
  const odd = { runId: "run_01", stepId: "../../step" };
  const outcome = await store.put(odd, { ...output, name: "../../x\0y" });
  expect(outcome).toMatchObject({ ok: true });
  expect(await readdir(path)).toEqual(["run_01"]);
  expect(await store.list("run_01")).toMatchObject([{ name: "../../x\0y", stepId: "../../step" }]);
});

test("a folder that can't be written is a failure that may pass", async () => {
  await writeFile(join(path, "file"), "");
  const blocked = createArtifactFolder({ path: join(path, "file") });
  expect(await blocked.put(step, output)).toMatchObject({
    failure: { kind: "unavailable", retryable: true },
  });
});
