import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import S3rver from "s3rver";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { placeOf, plainName } from "../../adapters/artifacts/artifact.ts";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
import { createS3Artifacts } from "../../adapters/artifacts/s3.ts";
import { troubleOf } from "../../machines/contracts/domain/failure.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import { listen } from "../support/listen.ts";

const step = { runId: "run_01", stepId: "step_01" };
const output = { name: "out.json", kind: "output", content: '{"a":1}' } as const;

/** A store over one fresh place, and what a stranger may do there. */
interface Place {
  store: ArtifactStore;
  overwrite(key: string, content: string): Promise<void>;
}

async function put(store: ArtifactStore, content: string | Uint8Array = output.content) {
  const outcome = await store.put(step, { ...output, content });
  if (!outcome.ok) throw new Error(outcome.failure.message);
  return outcome.value;
}

/** Every promise of an artifact store, for any. */
function artifactConformance(name: string, place: () => Place): void {
  describe(name, () => {
    it("gives back what was put, bytes or text, with its checksum and size", async () => {
      const { store } = place();
      expect(await store.check()).toEqual({ ok: true, value: null });
      const bytes = Uint8Array.from([0, 255, 10, 13, 128]);
      const ref = await put(store, bytes);
      expect(ref).toMatchObject({ ...step, name: "out.json", kind: "output", size: 5 });
      expect(ref.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
      const got = await store.get("run_01", ref.id);
      expect(got).toMatchObject({ ok: true, value: { ref } });
      expect(got.ok && [...got.value.content]).toEqual([...bytes]);
      expect((await put(store, "grüße")).size).toBe(7);
      expect((await put(store, "")).size).toBe(0);
    });

    it("keeps the same once, even put at once, and other content beside it", async () => {
      const { store } = place();
      const [one, two] = await Promise.all([put(store), put(store)]);
      expect(one.id).toBe(two.id);
      const other = await put(store, "other");
      expect(other.id).not.toBe(one.id);
      expect(await store.get("run_01", one.id)).toMatchObject({ ok: true });
    });

    it("tells content that was changed from sound content, and what is absent from both", async () => {
      const { store, overwrite } = place();
      const { id } = await put(store);
      await overwrite(`run_01/artifacts/${id}/content`, '{"a":2}');
      expect(await store.get("run_01", id)).toMatchObject({ failure: { kind: "corrupt_record" } });
      await overwrite(`run_01/artifacts/${id}/metadata.json`, "{}");
      expect(await store.get("run_01", id)).toMatchObject({ failure: { kind: "corrupt_record" } });
      for (const [run, artifact] of [
        ["run_01", "none"],
        ["run_02", id],
        ["..", "../x"],
      ] as const) {
        expect(await store.get(run, artifact)).toMatchObject({ failure: { kind: "not_found" } });
      }
    });

    it("takes any ids and names, and never mixes two", async () => {
      const { store } = place();
      const odd = [
        "a:b",
        "..",
        "../x",
        "/etc",
        "a/b",
        ".hidden",
        "a\0b",
        "İ💥",
        "%2E",
        "x".repeat(255),
        "a b+c?&#",
      ];
      const refs = [];
      for (const runId of odd) {
        const kept = await store.put(
          { runId, stepId: runId },
          { ...output, name: "../../x\0y", content: runId },
        );
        expect(kept).toMatchObject({ ok: true });
        refs.push(kept.ok ? kept.value.id : "");
      }
      for (const [n, runId] of odd.entries()) {
        const got = await store.get(runId, refs[n] ?? "");
        expect(got.ok && new TextDecoder().decode(got.value.content)).toBe(runId);
      }
    });

    it("says that a run without a name is the step's trouble", async () => {
      const { store } = place();
      for (const runId of ["", "\ud800"]) {
        const kept = await store.put({ runId, stepId: "s" }, output);
        expect(kept).toMatchObject({ failure: { kind: "invalid_input", retryable: false } });
        expect(!kept.ok && troubleOf(kept.failure)).toBe("step");
      }
    });
  });
}

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "artifacts-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

artifactConformance("artifacts in a folder", () => ({
  store: createArtifactFolder({ path: directory, isShared: true }),
  overwrite: (key, content) => writeFile(join(directory, key), content),
}));

describe("a folder", () => {
  const store = () => createArtifactFolder({ path: directory, isShared: false });

  it("has FerrumDeck's layout, and no draft is left in it", async () => {
    const { id, sha256 } = await put(store());
    await store().check();
    expect(await readdir(directory)).toEqual(["run_01"]);
    const folder = join(directory, "run_01", "artifacts", id);
    expect((await readdir(folder)).sort()).toEqual(["content", "metadata.json"]);
    expect(await readFile(join(folder, "content"), "utf8")).toBe('{"a":1}');
    expect(JSON.parse(await readFile(join(folder, "metadata.json"), "utf8"))).toMatchObject({
      id,
      run_id: "run_01",
      step_id: "step_01",
      sha256,
    });
  });

  it("that can't be written is ours to mend, at the check as at the put [store.trouble]", async () => {
    await writeFile(join(directory, "file"), "");
    await mkdir(join(directory, "taken"));
    await writeFile(join(directory, "taken", "run_01"), "");
    for (const path of [join(directory, "file"), join(directory, "taken"), "/proc/nope"]) {
      const blocked = createArtifactFolder({ path, isShared: true });
      const kept = await blocked.put(step, output);
      expect(kept).toMatchObject({ failure: { kind: "misconfigured", retryable: false } });
      expect(!kept.ok && troubleOf(kept.failure)).toBe("ours");
    }
    const file = createArtifactFolder({ path: join(directory, "file"), isShared: true });
    expect(await file.check()).toMatchObject({ failure: { kind: "misconfigured" } });
  });
});

describe("a place's names", () => {
  it("are one plain name each, different for different ids", () => {
    const id = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({ unit: fc.constantFrom(".", "/", "%", "a", "é") }),
    );
    fc.assert(
      fc.property(id, id, (one, two) => {
        const [first, second] = [plainName(one), plainName(two)];
        if (first !== null) {
          expect(first).toMatch(/^[\w%~-](?:[\w%~.-]*[\w%~-])?$/);
          expect(first).not.toContain("..");
          expect(Buffer.byteLength(first)).toBeLessThanOrEqual(255);
        }
        expect(first === second && first !== null).toBe(one === two && first !== null);
      }),
    );
    expect(placeOf("run_01J", "0123abcd")).toBe("run_01J/artifacts/0123abcd");
  });
});

describe("S3-compatible storage", () => {
  let s3: S3rver;
  let port: number;
  let room = 0;
  let data: string;
  const keys = { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" };

  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), "s3rver-"));
    s3 = new S3rver({
      port: 0,
      address: "127.0.0.1",
      silent: true,
      directory: data,
      configureBuckets: [{ name: "bucket", configs: [] }],
    });
    port = (await s3.run()).port;
  });
  afterAll(async () => {
    await s3.close();
    await rm(data, { recursive: true, force: true });
  });
  beforeEach(() => (room += 1));
  const url = () => `http://127.0.0.1:${port}/bucket/room${room}`;

  artifactConformance("artifacts in a bucket", () => ({
    store: createS3Artifacts({ url: url(), ...keys }),
    overwrite: async (key, content) => {
      const { AwsClient } = await import("aws4fetch");
      const stranger = new AwsClient({ ...keys, service: "s3", region: "us-east-1" });
      const { ok: isWritten } = await stranger.fetch(`${url()}/${key}`, {
        method: "PUT",
        body: content,
      });
      expect(isWritten).toBe(true);
    },
  }));

  it("that refuses our key, or has no such bucket, is ours to mend [store.trouble]", async () => {
    const wrong = createS3Artifacts({ url: url(), ...keys, accessKeyId: "wrong" });
    const nowhere = createS3Artifacts({ url: `http://127.0.0.1:${port}/none`, ...keys });
    for (const store of [wrong, nowhere]) {
      for (const outcome of [
        await store.check(),
        await store.put(step, output),
        await store.get("r", "i"),
      ]) {
        expect(outcome).toMatchObject({ failure: { kind: "misconfigured" } });
        expect(JSON.stringify(outcome)).not.toContain("wrong");
      }
    }
  });

  it.each([
    ["RequestTimeTooSkewed", 403, "passing"],
    ["SlowDown", 503, "passing"],
    ["AccessDenied", 403, "ours"],
    ["NoSuchBucket", 404, "ours"],
    ["PermanentRedirect", 301, "ours"],
  ] as const)(
    "says by its code %s whose trouble it is [store.trouble]",
    async (code, status, whose) => {
      const server = createServer((_, response) => {
        response.writeHead(status).end(`<Error><Code>${code}</Code></Error>`);
      });
      const own = await listen(server);
      const store = createS3Artifacts({ url: `http://127.0.0.1:${own}/bucket`, ...keys });
      for (const outcome of [await store.put(step, output), await store.get("run_01", "some")]) {
        expect(!outcome.ok && troubleOf(outcome.failure)).toBe(whose);
      }
      server.close();
      server.closeAllConnections();
    },
  );

  it("has kept what was put only when its receipt says so, or it can be read again; no answer is read without end [store.trouble]", async () => {
    let etag = '"of something else"';
    let sent = 0;
    const server = createServer((request, response) => {
      request.resume();
      response.writeHead(200, { etag });
      if (request.method === "PUT") return void response.end();
      const chunk = Buffer.alloc(1024 * 1024);
      const more = () => {
        while (!response.destroyed && sent < 200 && response.write(chunk)) sent += 1;
        if (sent >= 200) response.end();
      };
      response.on("drain", more);
      more();
    });
    const own = await listen(server);
    const store = createS3Artifacts({ url: `http://127.0.0.1:${own}/bucket`, ...keys });
    for (const outcome of [await store.put(step, output), await store.check()]) {
      expect(outcome).toMatchObject({ failure: { kind: "unavailable", retryable: true } });
    }
    expect(await store.get("run_01", "some")).toMatchObject({ ok: false });
    expect(sent).toBeLessThan(100);
    etag = "";
    expect(await store.put(step, output)).toMatchObject({ failure: { retryable: true } });
    server.close();
    server.closeAllConnections();
  });

  it("that can't be reached, or is busy, or is something else, may pass; it follows no redirect [store.trouble]", async () => {
    let status = 503;
    const server: Server = createServer((_, response) => {
      response.writeHead(status, { location: "http://127.0.0.1:1/" }).end("<html>");
    });
    const own = await listen(server);
    const store = createS3Artifacts({ url: `http://127.0.0.1:${own}/bucket`, ...keys });
    const expected = {
      503: "passing",
      500: "passing",
      429: "passing",
      507: "ours",
      // Whatever is not in the words of S3 is not the storage.
      301: "passing",
      400: "passing",
      401: "passing",
      403: "passing",
      404: "passing",
      200: "passing",
      204: "passing",
    };
    for (const [code, trouble] of Object.entries(expected)) {
      status = Number(code);
      const outcome = await store.put(step, output);
      expect(!outcome.ok && troubleOf(outcome.failure)).toBe(trouble);
      const read = await store.get("run_01", "some");
      expect(!read.ok && troubleOf(read.failure)).toBe(trouble);
      const check = await store.check();
      expect(!check.ok && troubleOf(check.failure)).toBe(trouble);
    }
    server.close();
    server.closeAllConnections();
    const away = await store.put(step, output);
    expect(away).toMatchObject({ failure: { kind: "unavailable", retryable: true } });
  });
});
