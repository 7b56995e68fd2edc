import { type } from "arktype";
import OpenAI, { APIConnectionError, APIConnectionTimeoutError } from "openai";
import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Embedder } from "../../machines/contracts/ports/embedder.ts";
import { readError } from "./openai-client.ts";
import type { ProviderOptions } from "./providers.ts";
import { vendorRequest } from "./vendor-request.ts";
import { toFailure, vendorFailure } from "./vendor-trouble.ts";

export interface EmbeddingOptions {
  provider: ProviderOptions;
  /** As the provider names it. */
  model: string;
  /** Of the vectors, where the model can give fewer. */
  dimensions?: number;
}

/** Models read at least 512 tokens, and what is found should be short enough to be read. */
const chunkCharacters = 1_500;
/** Bytes of an answer: 64 vectors of 4,096 numbers are a quarter of it. */
const mostBytes = 32 * 1024 * 1024;

const answerShape = type({
  data: type({ index: "number.integer >= 0", embedding: "number[] > 0" }).array(),
});

/** Asks an embeddings endpoint of OpenAI's API, a provider's or a server of one's own, once: the step's retries are ours. */
export function createOpenaiEmbedder({ provider, model, dimensions }: EmbeddingOptions): Embedder {
  const { name, apiKey, baseUrl, totalMs } = provider;
  const client = new OpenAI({
    apiKey: apiKey ?? "none",
    baseURL: baseUrl ?? "https://api.openai.com/v1",
    timeout: totalMs,
    maxRetries: 0,
    logLevel: "off",
    fetch: boundedFetch,
  });
  const said = (what: string, trouble: "network" | "timeout" | "bad_answer") =>
    fail(toFailure(provider, trouble, `${name}'s embeddings: ${what}`));
  return {
    model: `${name}/${model}${dimensions === undefined ? "" : `@${dimensions}`}`,
    chunkCharacters,
    async embed(texts, signal) {
      try {
        const answer: unknown = await client.embeddings.create(
          {
            model,
            input: texts.map((text) => text.toWellFormed()),
            // Not every server knows base64, the SDK's own choice.
            encoding_format: "float",
            ...(dimensions === undefined ? {} : { dimensions }),
          },
          { signal },
        );
        return readVectors(answer, texts.length, dimensions, (what) => said(what, "bad_answer"));
      } catch (error) {
        if (signal.aborted) return fail(terminal("cancelled", "the embedding was cancelled"));
        if (error instanceof TooLong || causeOf(error) instanceof TooLong) {
          return said(`the answer is longer than ${mostBytes} bytes`, "bad_answer");
        }
        if (error instanceof APIConnectionTimeoutError) {
          return said(`no answer within ${totalMs} ms`, "timeout");
        }
        if (error instanceof APIConnectionError) return said("can't be reached", "network");
        if (error instanceof SyntaxError) return said("the answer is not JSON", "network");
        const refused = readError(error);
        if (refused === null) throw error;
        return fail(vendorFailure(provider, refused));
      }
    },
    close: async () => {},
  };
}

function readVectors(
  answer: unknown,
  count: number,
  dimensions: number | undefined,
  wrong: (what: string) => { ok: false; failure: ReturnType<typeof toFailure> },
): Outcome<Float32Array[]> {
  const read = answerShape(answer);
  if (read instanceof type.errors) return wrong("the answer has no list of vectors");
  const vectors: Float32Array[] = Array.from({ length: count });
  for (const { index, embedding } of read.data) {
    if (index < count) vectors[index] = unit(embedding);
  }
  const [first] = vectors;
  const isWhole = vectors.every(
    (vector) => vector?.length === first?.length && vector?.every(Number.isFinite) === true,
  );
  if (!isWhole || read.data.length !== count) {
    return wrong(`expected ${count} vectors of one length, all of finite numbers`);
  }
  if (dimensions !== undefined && first !== undefined && first.length !== dimensions) {
    return wrong(
      `expected vectors of ${dimensions} dimensions and got ${first.length}: set the collection's dimensions to ${first.length}, or leave them out`,
    );
  }
  // Like to nothing, it would never be found.
  if (vectors.some((vector) => vector.every((one) => one === 0))) {
    return wrong("a vector is all zeros: expected one that says something of its text");
  }
  return ok(vectors);
}

/** At length 1, whatever its numbers are: their squares may be too large or too small for a number. */
function unit(embedding: readonly number[]): Float32Array {
  let most = 0;
  for (const one of embedding) most = Math.max(most, Math.abs(one));
  if (most === 0 || !Number.isFinite(most)) return Float32Array.from(embedding);
  let squares = 0;
  for (const one of embedding) squares += (one / most) ** 2;
  const length = Math.sqrt(squares);
  return Float32Array.from(embedding, (one) => one / most / length);
}

class TooLong extends Error {
  override readonly name = "TooLong";
}

const causeOf = (error: unknown): unknown => (error instanceof Error ? error.cause : undefined);

/** Follows no redirect, which would hand texts and key to another host, and reads no more than its bound. */
const boundedFetch: typeof fetch = async (input, init) => {
  const { status, headers, body: sent } = await vendorRequest(input, init);
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of sent as AsyncIterable<Uint8Array>) {
    size += piece.byteLength;
    if (size > mostBytes) throw new TooLong("the answer is too long");
    pieces.push(piece);
  }
  headers.delete("content-encoding");
  headers.delete("content-length");
  // The SDK reads as JSON only what says so; not every server does.
  headers.set("content-type", "application/json");
  const body = status === 204 || status === 304 ? null : Buffer.concat(pieces);
  const shown = status === 205 ? 200 : Math.min(status, 599);
  return new Response(body, { status: shown, headers });
};
