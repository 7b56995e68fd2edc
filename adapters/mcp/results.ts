import {
  type CallToolResult,
  OAuthClientFlowError,
  OAuthError,
  OAuthErrorCode,
  ProtocolError,
  ProtocolErrorCode,
  SdkError,
  SdkErrorCode,
  SdkHttpError,
  UnauthorizedError,
} from "@modelcontextprotocol/client";
import type { ToolAttachment, ToolResult } from "../../machines/contracts/ports/tool-host.ts";
import { streamEnded } from "./transports.ts";
import { cutText, wellFormed } from "../../machines/contracts/domain/text.ts";
import {
  isJsonObject,
  type Json,
  type JsonObject,
  parseJson,
} from "../../machines/contracts/domain/json.ts";
import { retryable, terminal, type Failure } from "../../machines/contracts/domain/failure.ts";

/** Characters of one text that are kept: a result is journalled, and read by a model. */
const textLimit = 1_048_576;

type Part = CallToolResult["content"][number];

/**
 * What a tool gave, as JSON of a bounded size: its structured content where there is some; else its texts
 * joined by newlines; else, where there is more than text, one small object a part, binary data by its size. The
 * data itself, and texts that are too long, are beside it whole.
 */
export function readResult({
  content,
  structuredContent,
}: CallToolResult): Pick<ToolResult, "content" | "attachments"> {
  const [first] = content;
  const isStructured = structuredContent !== undefined;
  // As most tools answer.
  if (!isStructured && first?.type === "text" && content.length === 1 && !isLong(first.text)) {
    return { content: bounded(first.text) };
  }
  const isText = content.every((part) => part.type === "text");
  const described = isStructured || isText ? null : content.map(describePart);
  const attachments = content.flatMap((part, at) => {
    // What is structured says in full what texts beside it say once more.
    if (isStructured && part.type === "text") return [];
    const attachment = attachmentOf(part, at);
    return attachment === null ? [] : [{ ...attachment, part: described === null ? null : at }];
  });
  return {
    content: isStructured
      ? wellFormed(structuredContent as Json)
      : (described ?? readText({ content })),
    ...(attachments.length === 0 ? {} : { attachments }),
  };
}

const isLong = (text: string): boolean => text.length > textLimit;

function attachmentOf(part: Part, at: number): Omit<ToolAttachment, "part"> | null {
  const [type, bytes] = partBytes(part);
  if (bytes === null) return null;
  const mimeType = type === null ? null : cutText(type, 100);
  const [, ending] = /^[a-z]+\/(?:x-)?([a-z0-9]{1,8})\b/u.exec(mimeType ?? "") ?? [];
  return { name: `tool-${part.type}-${at + 1}.${ending ?? "bin"}`, mimeType, content: bytes };
}

function partBytes(part: Part): [mimeType: string | null, bytes: Uint8Array | null] {
  if (part.type === "image" || part.type === "audio") {
    return [part.mimeType, Buffer.from(part.data, "base64")];
  }
  if (part.type === "text")
    return ["text/plain", isLong(part.text) ? Buffer.from(part.text) : null];
  if (part.type !== "resource") return [null, null];
  const { resource } = part;
  const type = resource.mimeType ?? null;
  if ("blob" in resource) return [type, Buffer.from(resource.blob, "base64")];
  return [type, isLong(resource.text) ? Buffer.from(resource.text) : null];
}

/** The texts of a result, joined by newlines. */
export function readText(result: Pick<CallToolResult, "content">): string {
  return bounded(
    result.content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n"),
  );
}

function describePart(part: Part): JsonObject {
  switch (part.type) {
    case "text":
      return { type: "text", text: bounded(part.text) };
    case "image":
    case "audio":
      return { type: part.type, mimeType: part.mimeType, bytes: decodedSize(part.data) };
    case "resource_link":
      return { type: "resource_link", uri: part.uri, name: part.name, ...mimeTypeOf(part) };
    case "resource": {
      const { resource } = part;
      const body =
        "text" in resource
          ? { bytes: Buffer.byteLength(resource.text), text: bounded(resource.text) }
          : { bytes: decodedSize(resource.blob) };
      return { type: "resource", uri: resource.uri, ...mimeTypeOf(resource), ...body };
    }
  }
}

function mimeTypeOf(part: { mimeType?: string | undefined }): { mimeType?: string } {
  return part.mimeType === undefined ? {} : { mimeType: part.mimeType };
}

function decodedSize(base64: string): number {
  return Buffer.byteLength(base64, "base64");
}

function bounded(text: string): string {
  if (text.length <= textLimit) return cutText(text, textLimit);
  return `${cutText(text, textLimit)}\n[cut off: ${text.length} characters in all]`;
}

/** What is known of a request that brought no result. */
export interface Circumstances {
  /** Names the request and its server, as the beginning of a sentence. */
  what: string;
  /** The caller gave up. */
  aborted: boolean;
  /** Our own deadline passed, in milliseconds; null if it didn't. */
  timedOutAfterMs: number | null;
  /** Why the connection is over; null while it stands. */
  ending: string | null;
  /** False for a call that must not be made twice unseen. */
  safeToRepeat: boolean;
}

/** Causes of a failed fetch under which the request never left. */
const neverSent = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"]);

/** What an exchange's error means for the engine, from where it came from and never from its text. */
export function readError(error: unknown, circumstances: Circumstances): Failure {
  const { what, aborted, timedOutAfterMs, ending, safeToRepeat } = circumstances;
  if (aborted) return terminal("cancelled", `${what} was cut short`);
  if (timedOutAfterMs === null && isAnswer(error)) {
    return error.code === ProtocolErrorCode.InvalidParams
      ? terminal("invalid_input", `${what} was refused: ${oneLine(error.message)}`)
      : terminal("tool_failed", `${what} failed: ${oneLine(error.message)}`);
  }
  if (error instanceof SdkHttpError) return readStatus(error, circumstances);
  if (error instanceof SdkError && notMcp.has(error.code)) {
    return terminal("tool_failed", `${what} gave an answer that is not MCP's`);
  }
  if (isRefusal(error))
    return terminal(
      "unauthorized",
      `${what} did not take who we are: ${oneLine(messageOf(error))}`,
    );
  const cause = (error as { cause?: { code?: string } } | null)?.cause?.code ?? "";
  const reason =
    timedOutAfterMs === null ? (ending ?? (causeOf(error) || oneLine(messageOf(error)))) : "";
  if (!safeToRepeat && !neverSent.has(cause)) {
    const end = timedOutAfterMs === null ? reason : `no answer within ${timedOutAfterMs} ms`;
    return terminal("in_doubt", `${what} may have run: ${end}`);
  }
  return timedOutAfterMs === null
    ? retryable("unavailable", `${what} did not answer: ${reason}`)
    : retryable("timeout", `${what} did not answer within ${timedOutAfterMs} ms`);
}

/** The system's word for what kept a request from its end, however deep `fetch` and the SDK wrapped it. */
function causeOf(error: unknown): string {
  let at = error instanceof Error ? error.cause : undefined;
  for (let depth = 0; depth < 5 && at instanceof Error; depth += 1) {
    const { code } = at as { code?: unknown };
    if (!(at instanceof SdkError) && typeof code === "string") return code;
    at = at.cause ?? (at instanceof AggregateError ? (at.errors[0] as unknown) : undefined);
  }
  return "";
}

/** What the SDK says of an answer that it can't read. */
const notMcp = new Set([SdkErrorCode.InvalidResult, SdkErrorCode.UnsupportedResultType]);

/** True for an error that the server itself sent. */
function isAnswer(error: unknown): error is ProtocolError {
  return error instanceof ProtocolError && error.data !== streamEnded;
}

/** True for what came of the server itself, readable or not: the connection is as good as before. */
export function isFromServer(error: unknown): boolean {
  return isAnswer(error) || (error instanceof SdkError && notMcp.has(error.code));
}

/** An authorization server that is in trouble may take us the next time; one that refuses us will not. */
function isRefusal(error: unknown): boolean {
  if (error instanceof UnauthorizedError || error instanceof OAuthClientFlowError) return true;
  return (
    error instanceof OAuthError &&
    error.code !== OAuthErrorCode.ServerError &&
    error.code !== OAuthErrorCode.TemporarilyUnavailable
  );
}

/** Statuses of a request that was turned away for what it is, before anybody read what it asks. */
const turnedAway = new Set([405, 406, 411, 414, 415, 431]);

/**
 * Statuses by which an MCP server itself says that it ran nothing: a message it can't use, a session it does not know,
 * too many requests. From whatever stands before the server the same numbers say nothing of what the server did.
 */
const notTaken = new Set([400, 404, 429]);

/** A request that was answered by a status alone: what does not plainly say that it did not run, may have run. */
function readStatus({ status, data }: SdkHttpError, circumstances: Circumstances): Failure {
  const { what, safeToRepeat } = circumstances;
  const said = `${what} got HTTP ${status}`;
  if (status === 401 || status === 403) return terminal("unauthorized", said);
  if (status === 413) return terminal("too_large", said);
  const isNotDone = turnedAway.has(status) || (isServersOwn(data["text"]) && notTaken.has(status));
  if (!safeToRepeat && !isNotDone) return terminal("in_doubt", `${said} and may have run`);
  return retryable(status === 429 ? "rate_limited" : "unavailable", said);
}

/** Whether an MCP server itself said so, in a JSON-RPC error: whatever stands before it answers otherwise. */
function isServersOwn(text: unknown): boolean {
  const read = typeof text === "string" ? parseJson(text) : null;
  if (read === null || !read.ok || !isJsonObject(read.value)) return false;
  const { jsonrpc, error } = read.value;
  return (
    jsonrpc === "2.0" &&
    isJsonObject(error ?? null) &&
    typeof (error as JsonObject)["code"] === "number"
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function oneLine(text: string): string {
  return cutText(text.replaceAll(/\s+/g, " ").trim(), 500);
}
