import { randomUUID } from "node:crypto";
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
import { checkArtifact, nameless, placeOf, toRef, writeMetadata } from "./artifact.ts";

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

  /** The object's bytes, or null when it is not there. */
  async function request(
    what: string,
    method: "PUT" | "GET" | "DELETE",
    key: string,
    body?: string | Uint8Array<ArrayBuffer>,
  ): Promise<Outcome<Uint8Array | null>> {
    const url = `${base}/${key}`;
    try {
      const response = await client.fetch(url, {
        method,
        redirect: "manual",
        signal: AbortSignal.timeout(timeoutMs),
        ...(body === undefined ? {} : { body }),
      });
      const content = new Uint8Array(await response.arrayBuffer());
      if (response.ok) return ok(content);
      const code = /<Code>([A-Za-z]+)<\/Code>/.exec(new TextDecoder().decode(content))?.[1] ?? "";
      if (response.status === 404 && code !== "NoSuchBucket" && method === "GET") return ok(null);
      return fail(toFailure(what, response.status, code));
    } catch (error) {
      const reason = error instanceof Error ? error.name : String(error);
      return fail(retryable("unavailable", `${what}: the storage can't be reached (${reason})`));
    }
  }

  return {
    isShared: true,

    async check() {
      const key = `.check-${randomUUID()}`;
      const what = `the artifact storage ${base} can't be written`;
      const written = await request(what, "PUT", key, "x");
      if (!written.ok) return written;
      // One that may write and not delete will do.
      await request(what, "DELETE", key);
      return ok(null);
    },

    async put(step, { name, kind, content }) {
      const bytes = new Uint8Array(typeof content === "string" ? Buffer.from(content) : content);
      const ref = toRef(step, { name, kind }, bytes);
      const place = placeOf(step.runId, ref.id);
      if (place === null) return fail(nameless("run id"));
      const what = `artifact ${ref.id} can't be written`;
      const written = await request(what, "PUT", inUrl(`${place}/content`), bytes);
      if (!written.ok) return written;
      const named = await request(what, "PUT", inUrl(`${place}/metadata.json`), writeMetadata(ref));
      return named.ok ? ok(ref) : named;
    },

    async get(runId, id) {
      const place = placeOf(runId, id);
      if (place === null) return fail(nameless("run id or artifact id"));
      const what = `artifact ${id} can't be read`;
      const metadata = await request(what, "GET", inUrl(`${place}/metadata.json`));
      if (!metadata.ok) return metadata;
      if (metadata.value === null) return checkArtifact(id, null, null);
      const content = await request(what, "GET", inUrl(`${place}/content`));
      return content.ok ? checkArtifact(id, metadata.value, content.value) : content;
    },
  };
}

/** A key as it stands in a URL: a percent sign of the key's own is encoded once more. */
function inUrl(key: string): string {
  return key.replaceAll("%", "%25");
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
function toFailure(what: string, status: number, code: string): Failure {
  const message = `${what}: the storage answered ${status}${code === "" ? "" : ` ${code}`}`;
  if (code === "EntityTooLarge" || status === 413) return terminal("too_large", message);
  const isPassing =
    status === 408 || status === 409 || status === 429 || (status >= 500 && status !== 507);
  return isPassing ? retryable("unavailable", message) : terminal("misconfigured", message);
}
