import { createHash, randomUUID } from "node:crypto";
import { AwsClient } from "aws4fetch";
import {
  fail,
  ok,
  retryable,
  terminal,
  type Failure,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import {
  checkArtifact,
  nameless,
  parseMetadata,
  placeOf,
  toRef,
  writeMetadata,
} from "./artifact.ts";

export interface S3Options {
  /** The bucket, path-style, and what stands before every key: `https://s3.eu-central-1.amazonaws.com/bucket/prefix`. */
  url: string;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  /** `us-east-1` where a service does not care. */
  region?: string;
  /** Of one request, milliseconds. */
  timeoutMs?: number;
}

/**
 * Artifacts in S3-compatible storage, which workers of all hosts read; for the layout see {@link placeOf}. The metadata
 * is written last, so an artifact is there wholly or not at all.
 */
export function createS3Artifacts(options: S3Options): ArtifactStore {
  const { accessKeyId, secretAccessKey, sessionToken, region = "us-east-1" } = options;
  const { timeoutMs = 60_000 } = options;
  const base = options.url.replace(/\/+$/, "");
  const client = new AwsClient({
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
    region,
    service: "s3",
    // Retries are the step machine's.
    retries: 0,
  });

  async function request(
    what: string,
    method: "PUT" | "GET" | "DELETE",
    key: string,
    most: number,
    body?: string | Uint8Array<ArrayBuffer>,
  ): Promise<Outcome<Reply>> {
    try {
      const response = await client.fetch(`${base}/${key}`, {
        method,
        redirect: "manual",
        signal: AbortSignal.timeout(timeoutMs),
        ...(body === undefined ? {} : { body }),
      });
      const { status, headers } = response;
      const content = await readUpTo(response.body, response.ok ? most : mostOfReply);
      const etag = headers.get("etag");
      // Objects and receipts carry an ETag, and none of ours is a page: a login page is neither.
      const isPage = (headers.get("content-type") ?? "").startsWith("text/html");
      if (response.ok && (method === "DELETE" || (etag !== null && !isPage))) {
        return ok({ etag, content });
      }
      const code = /<Code>([A-Za-z0-9]+)<\/Code>/u.exec(new TextDecoder().decode(content))?.[1];
      return method === "GET" && status === 404 && code === "NoSuchKey"
        ? ok(null)
        : fail(toFailure(what, status, code ?? null));
    } catch (error) {
      const reason = error instanceof Error ? error.name : String(error);
      return fail(retryable("unavailable", `${what}: the storage can't be reached (${reason})`));
    }
  }

  /** The object's bytes, but no more than one beyond `most`; null when it is not there. */
  async function read(what: string, key: string, most: number) {
    const got = await request(what, "GET", key, most);
    return got.ok ? ok(got.value?.content ?? null) : got;
  }

  /** Writes an object, and sees by its receipt that it is there, or else by reading it. */
  async function write(
    what: string,
    key: string,
    bytes: Uint8Array<ArrayBuffer>,
  ): Promise<Outcome<null>> {
    const written = await request(what, "PUT", key, mostOfReply, bytes);
    if (!written.ok) return written;
    // The ETag is the MD5 of what was kept, unless the storage encrypts it with a key of its own.
    const md5 = createHash("md5").update(bytes).digest("hex");
    if (written.value?.etag?.replaceAll('"', "") === md5) return ok(null);
    const there = await read(what, key, bytes.byteLength);
    if (!there.ok) return there;
    return there.value !== null && Buffer.from(there.value).equals(bytes)
      ? ok(null)
      : fail(retryable("unavailable", `${what}: the storage does not have what it was sent`));
  }

  return {
    isShared: true,

    async check() {
      const key = `.check-${randomUUID()}`;
      const what = `the artifact storage ${base} can't be used`;
      const content = new Uint8Array(Buffer.from(randomUUID()));
      const written = await write(what, key, content);
      if (!written.ok) return written;
      const there = await read(what, key, content.byteLength);
      if (!there.ok) return there;
      if (there.value === null || !Buffer.from(there.value).equals(content)) {
        return fail(retryable("unavailable", `${what}: it does not have what it was sent`));
      }
      // One that may write and not delete will do.
      await request(what, "DELETE", key, mostOfReply);
      return ok(null);
    },

    async put(step, { name, kind, content, id }) {
      const bytes = new Uint8Array(typeof content === "string" ? Buffer.from(content) : content);
      const ref = toRef(step, { name, kind, id }, bytes);
      const place = placeOf(step.runId, ref.id);
      if (place === null) return fail(nameless("run id"));
      const what = `artifact ${ref.id} can't be written`;
      const written = await write(what, inUrl(`${place}/content`), bytes);
      if (!written.ok) return written;
      const metadata = new Uint8Array(Buffer.from(writeMetadata(ref)));
      const named = await write(what, inUrl(`${place}/metadata.json`), metadata);
      return named.ok ? ok(ref) : named;
    },

    async get(runId, id) {
      const place = placeOf(runId, id);
      if (place === null) return fail(nameless("run id or artifact id"));
      const what = `artifact ${id} can't be read`;
      const metadata = await read(what, inUrl(`${place}/metadata.json`), mostOfReply);
      if (!metadata.ok) return metadata;
      if (metadata.value === null) return checkArtifact(id, null, null);
      const size = parseMetadata(new TextDecoder().decode(metadata.value))?.size ?? 0;
      const content = await read(what, inUrl(`${place}/content`), size);
      return content.ok ? checkArtifact(id, metadata.value, content.value) : content;
    },
  };
}

/** What the storage itself answered; null for an object that is not there. */
type Reply = { etag: string | null; content: Uint8Array } | null;

/** Bytes of an answer that is no content: an error, a receipt, metadata. */
const mostOfReply = 64 * 1024;

/** A body, cut off one byte beyond `most`: whoever compares it sees that it is longer. */
async function readUpTo(
  body: ReadableStream<Uint8Array> | null,
  most: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early cancels the stream.
  for await (const chunk of body ?? []) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size > most) break;
  }
  return Buffer.concat(chunks).subarray(0, most + 1);
}

/** A key as it stands in a URL: a percent sign of the key's own is encoded once more. */
function inUrl(key: string): string {
  return key.replaceAll("%", "%25");
}

/** Codes of the storage's own that the same request may not meet again; any other of a 4xx is ours to mend. */
const passingCodes = new Set([
  "NoSuchKey",
  "OperationAborted",
  "ConditionalRequestConflict",
  "RequestTimeout",
  "RequestTimeTooSkewed",
  "RequestExpired",
  "BadDigest",
  "IncompleteBody",
  "SlowDown",
  "TooManyRequests",
  "TemporaryRedirect",
]);

/**
 * What an answer means that is not what was asked for. Without a code it was not the storage that answered, whatever
 * the status, and it passes. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 *
 * @param code the storage's own; null where the body is not its XML
 */
function toFailure(what: string, status: number, code: string | null): Failure {
  const said = `${what}: the storage answered ${status}`;
  if (code === "EntityTooLarge" || status === 413) return terminal("too_large", said);
  if (status === 507) return terminal("misconfigured", said);
  if (code === null) {
    const message = `${said}, not in the words of S3: something else answered in its place`;
    return retryable("unavailable", message);
  }
  const isOurs = status >= 300 && status < 500 && status !== 429 && !passingCodes.has(code);
  const message = `${said} ${code}`;
  return isOurs ? terminal("misconfigured", message) : retryable("unavailable", message);
}
