import { isIP } from "node:net";
import { type } from "arktype";
import { once } from "../../machines/contracts/domain/once.ts";
import type { Agent } from "undici";
import {
  type Failure,
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import { type JsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { Retrieval, Retriever } from "../../machines/contracts/ports/retriever.ts";
import { readRetryAfter } from "../../machines/contracts/wire/retry-after.ts";
import { addressProblem, guardedAgent, RefusedAddress } from "./guarded-agent.ts";

export interface HttpRetrieverOptions {
  /** From our own configuration; a step has no say in it. */
  endpoint: string;
  /** Sent as a bearer token. */
  apiKey?: string;
  /** Of one retrieval, first byte to last. */
  timeoutMs: number;
  /** Whether a public name may stand for an address of an internal network; not unless it is said. */
  allowInternal?: boolean;
}

const answerShape = once(() =>
  type({ documents: "object[]", "total?": "number.integer >= 0 | null" }),
);

/**
 * Asks a retrieval service: `POST {query, collection, top_k}`, and `filter` where there is one, answered by `{documents, total?}`, at most 8 MiB.
 * Redirects are not followed: the service could send us anywhere. Every answer but a sound 2xx is a failure, and only
 * what the service itself said, in JSON, is the step's: a page, an empty answer or a redirect comes from whatever stands
 * before it, and passes. A refused key may be one that is just changed: it is tried again, too. Every address that the
 * endpoint's name leads to is looked at before it is connected to: see {@link addressProblem}.
 *
 * @throws TypeError when the endpoint is not an http or https URL
 */
export function createHttpRetriever({
  endpoint,
  apiKey,
  timeoutMs,
  allowInternal = false,
}: HttpRetrieverOptions): Retriever {
  const url = URL.parse(endpoint);
  if (url === null || !/^https?:$/u.test(url.protocol)) {
    throw new TypeError("the retrieval endpoint is not an http or https URL");
  }
  const headers = {
    "content-type": "application/json",
    accept: "application/json",
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
  };
  const host = url.hostname.replaceAll(/[[\]]/gu, "");
  // A name is looked at when it is connected to; an address is never looked up.
  const atOnce = isIP(host) === 0 ? null : addressProblem(host, host, { allowInternal });
  let agent: Promise<Agent> | null = null;
  return {
    async retrieve({ query, collection, topK, filter }, signal) {
      if (atOnce !== null)
        return fail(retryable("unavailable", `the retrieval service: ${atOnce}`));
      const limit = AbortSignal.timeout(timeoutMs);
      try {
        // Where the control plane's client loads a part of it, this needs the whole.
        const { request } = await import("undici");
        const answer = await request(url, {
          dispatcher: await (agent ??= guardedAgent({ allowInternal })),
          method: "POST",
          headers,
          body: JSON.stringify({ query, collection, top_k: topK, filter }),
          signal: AbortSignal.any([signal, limit]),
        });
        const text = await readCapped(answer.body);
        return answer.statusCode >= 200 && answer.statusCode < 300
          ? readAnswer(text)
          : fail(
              statusFailure(
                answer.statusCode,
                isServices(text ?? ""),
                saidBy(text ?? "", apiKey),
                answer.headers["retry-after"],
              ),
            );
      } catch (error) {
        if (signal.aborted) return fail(terminal("cancelled", "the retrieval was cancelled"));
        const reason = limit.aborted ? `no answer within ${timeoutMs} ms` : errorCode(error);
        return fail(retryable("unavailable", `the retrieval service: ${reason}`));
      }
    },
  };
}

function readAnswer(text: string | null): Outcome<Retrieval> {
  if (text === null) {
    return fail(terminal("too_large", "the retrieval service answered with more than 8 MiB"));
  }
  const json = parseJson(text);
  if (!json.ok && json.reason === "syntax") {
    const problem =
      "the retrieval service's answer is not JSON: something else answered in its place";
    return fail(retryable("unavailable", problem));
  }
  if (!json.ok) {
    return fail(terminal("invalid_output", `the retrieval service's answer ${json.problem}`));
  }
  const read = answerShape()(json.value);
  if (read instanceof type.errors) {
    const problem = `the retrieval service gave an unexpected answer: ${cutText(read.summary, saidLimit)}`;
    return fail(retryable("unavailable", problem));
  }
  const documents = read.documents as JsonObject[];
  return ok({ documents, totalFound: read.total ?? documents.length });
}

/** How much of the service's own words stands in a failure, characters. */
const saidLimit = 500;

/** The service's words as they go into a failure: bounded, well-formed, without our key. */
function saidBy(text: string, apiKey: string | undefined): string {
  const hidden = apiKey ? text.replaceAll(apiKey, "[redacted]") : text;
  const said = hidden.trim();
  if (said === "") return "";
  return said.length > saidLimit
    ? `: ${cutText(said, saidLimit)}…`
    : `: ${cutText(said, saidLimit)}`;
}

function statusFailure(
  status: number,
  isOwn: boolean,
  said: string,
  retryAfter: string | string[] | undefined,
): Failure {
  const message = `the retrieval service answered ${status}${said}`;
  const waitMs = readRetryAfter(retryAfter, Date.now());
  if (status === 429) return retryable("rate_limited", message, waitMs);
  if (status >= 500 || status === 408) return retryable("unavailable", message, waitMs);
  if (status === 401 || (status === 403 && isOwn))
    return retryable("unauthorized", message, waitMs);
  if (status < 400) return retryable("unavailable", `redirects are not followed; ${message}`);
  if (status === 413) return terminal("too_large", message);
  if (!isOwn) return retryable("unavailable", message, waitMs);
  if (status === 404) return terminal("not_found", message);
  return terminal("invalid_input", message);
}

/** Whether an error's body is the service's own: JSON, as its answers are. */
function isServices(text: string): boolean {
  const read = parseJson(text);
  return read.ok || read.reason !== "syntax";
}

function errorCode(error: unknown): string {
  if (!(error instanceof Error)) return "failed";
  if (error instanceof RefusedAddress) return error.message;
  return "code" in error ? String(error.code) : error.name;
}

/** The most we take of an answer, bytes. */
const limit = 8 * 1024 * 1024;

/** A body as text; null as soon as it is too large, and then the connection is given up. */
export async function readCapped(body: AsyncIterable<Uint8Array>): Promise<string | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early destroys the stream.
  for await (const chunk of body) {
    size += chunk.length;
    if (size > limit) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
