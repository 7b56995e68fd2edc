import { type Failure, retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { ModelTrouble } from "../../machines/contracts/ports/model-provider.ts";
import { readRetryAfter } from "../../machines/contracts/wire/retry-after.ts";

/** Whose words a failure quotes, and which key is taken out of them. */
export interface Speaker {
  /** As the configuration names it. */
  name: string;
  apiKey: string | null;
  /** The environment variable that holds the key, for people. */
  keyVariable: string;
}

/** An error as a vendor said it, over HTTP or inside an answer. */
export interface VendorError {
  /** HTTP status; undefined where the error stood inside an answer. */
  status: number | undefined;
  headers?: Headers | undefined;
  /** The error object of the body, or a text. */
  said: unknown;
}

/** Our name for an error that is a page, which no provider sends. */
export const pageName = "page_in_place_of_the_provider";

/** The names that vendors give to what went wrong, in `type` or `code`, in small letters. */
const byName: Readonly<Record<string, ModelTrouble>> = {
  [pageName]: "network",
  // Anthropic's types.
  invalid_request_error: "bad_request",
  authentication_error: "auth",
  permission_error: "auth",
  billing_error: "quota",
  not_found_error: "unknown_model",
  request_too_large: "context_too_long",
  rate_limit_error: "rate_limited",
  api_error: "overloaded",
  timeout_error: "timeout",
  overloaded_error: "overloaded",
  // OpenAI's codes and types, and those of servers that speak its API.
  insufficient_quota: "quota",
  billing_hard_limit_reached: "quota",
  billing_not_active: "quota",
  rate_limit_exceeded: "rate_limited",
  invalid_api_key: "auth",
  context_length_exceeded: "context_too_long",
  string_above_max_length: "context_too_long",
  content_filter: "content_refused",
  content_policy_violation: "content_refused",
  responsibleaipolicyviolation: "content_refused",
  invalid_prompt: "content_refused",
  model_not_found: "unknown_model",
  deploymentnotfound: "unknown_model",
  // LiteLLM's, with a 401: the key is good, and not for this model.
  key_model_access_denied: "unknown_model",
  team_model_access_denied: "unknown_model",
  user_model_access_denied: "unknown_model",
  server_error: "overloaded",
  internal_error: "overloaded",
  engine_overloaded: "overloaded",
  invalid_value: "bad_request",
  unsupported_parameter: "bad_request",
  unsupported_value: "bad_request",
};

/** What a name leaves open: a status, or the words, may say more. */
const vague: ReadonlySet<ModelTrouble> = new Set(["bad_request"]);

/**
 * Some vendors have no name for these: they stand in the words alone, in a 400. Where a vendor says something else
 * it is a request that can't be taken, and final all the same.
 */
const byWords: readonly (readonly [ModelTrouble, RegExp])[] = [
  [
    "context_too_long",
    /prompt is too long|context (?:length|window|size)|input token count|maximum context/iu,
  ],
  ["quota", /credit balance is too low|insufficient (?:balance|credits|funds)/iu],
  ["content_refused", /content filter|content management policy|usage polic/iu],
];

function byStatus(status: number): ModelTrouble {
  if (status === 429) return "rate_limited";
  if (status === 401 || status === 403) return "auth";
  if (status === 402) return "quota";
  if (status === 404) return "unknown_model";
  if (status === 413) return "context_too_long";
  if (status === 408 || status === 504) return "timeout";
  if (status >= 300 && status < 400) return "network";
  return status >= 500 || status === 409 ? "overloaded" : "bad_request";
}

function classify(status: number | undefined, said: unknown, words: string): ModelTrouble {
  const named = namesIn(said).flatMap((name) => byName[name] ?? []);
  const clear = named.find((trouble) => !vague.has(trouble));
  // A status that says that it may pass is believed before a name; and what is too large for one minute's allowance,
  // which some call a rate limit, will be in the next one too.
  if (status !== undefined && (status >= 500 || status === 408 || status === 413)) {
    return byStatus(status);
  }
  if (status === 429 && clear === "network") return "rate_limited";
  if (clear !== undefined) return clear;
  const decided = status === undefined ? named[0] : byStatus(status);
  // OpenRouter's 403 is about what was said, and not about who said it.
  if (decided === "auth" && status === 403 && isModerated(said, words)) return "content_refused";
  if (decided === undefined || decided === "bad_request") {
    const start = cutText(words, mostLookedAt);
    return byWords.find(([, pattern]) => pattern.test(start))?.[0] ?? decided ?? "overloaded";
  }
  return decided;
}

function isModerated(said: unknown, words: string): boolean {
  const metadata = isJsonObject(said) ? said["metadata"] : null;
  const hasReasons = isJsonObject(metadata) && Array.isArray(metadata["reasons"]);
  return hasReasons || /\bflagged\b|moderation/iu.test(cutText(words, mostLookedAt));
}

/** The error's names, its inner errors' too: Azure puts the telling one inside. */
export function namesIn(said: unknown, depth = 0): string[] {
  if (!isJsonObject(said) || depth > 3) return [];
  const own = [said["code"], said["type"]].filter((name) => typeof name === "string");
  const inner = [said["error"], said["innererror"]].flatMap((part) => namesIn(part, depth + 1));
  return [...own.map((name) => name.toLowerCase()), ...inner];
}

/** The status that stands in an error inside an answer: some servers give it as the code. */
function statusIn(said: unknown): number | undefined {
  if (!isJsonObject(said)) return undefined;
  const status = Number(said["status"] ?? said["code"]);
  return Number.isInteger(status) && status >= 300 && status < 600 ? status : undefined;
}

export function wordsIn(said: unknown): string {
  if (typeof said === "string") return said;
  if (!isJsonObject(said)) return "";
  // OpenRouter's own words are always the same; those of the provider behind it stand inside.
  const { metadata } = said;
  const raw = isJsonObject(metadata) ? metadata["raw"] : null;
  if (typeof raw === "string" && raw !== "") return `${String(said["message"] ?? "")}: ${raw}`;
  if (typeof said["message"] === "string") return said["message"];
  if (said["message"] !== undefined) return JSON.stringify(said["message"]);
  for (const key of ["error", "detail", "msg", "error_description"]) {
    const inner = said[key];
    if (typeof inner === "string" || isJsonObject(inner)) return wordsIn(inner);
  }
  return JSON.stringify(said);
}

/** A vendor's error as ours: its reason, whether it may pass and when, and the vendor's own words. */
export function vendorFailure(speaker: Speaker, error: VendorError): Failure {
  const status = error.status ?? statusIn(error.said);
  const words = wordsIn(error.said);
  const reason = classify(status, error.said, words);
  const waitMs = readWait(error.headers) ?? waitIn(error.said);
  const said = quote(speaker, words, reason === "auth");
  return toFailure(speaker, reason, sentence(speaker, reason, status, said), { waitMs, status });
}

function sentence(
  { name, keyVariable }: Speaker,
  reason: ModelTrouble,
  status: number | undefined,
  said: string,
): string {
  const answered =
    status === undefined ? `${name} answered with an error` : `${name} answered ${status}`;
  if (reason === "network") {
    return said === ""
      ? `${answered}, a redirect; redirects are not followed`
      : `${answered} with a page, so something else answered in its place: ${said}`;
  }
  const what: Partial<Record<ModelTrouble, string>> = {
    auth: `: the key in ${keyVariable} is not accepted for this`,
    quota: ": the account has no quota left",
    context_too_long: ": the conversation is too long for the model",
    content_refused: ": the provider's rules forbid this",
    bad_request: ": it refuses the request",
  };
  return `${answered}${what[reason] ?? ""}${said === "" ? "" : `: ${said}`}`;
}

const kinds = {
  rate_limited: { kind: "rate_limited", passes: true },
  overloaded: { kind: "unavailable", passes: true },
  network: { kind: "unavailable", passes: true },
  timeout: { kind: "unavailable", passes: true },
  circuit_open: { kind: "unavailable", passes: true },
  context_too_long: { kind: "too_large", passes: false },
  content_refused: { kind: "refused", passes: false },
  auth: { kind: "unauthorized", passes: false },
  quota: { kind: "model_failed", passes: false },
  unknown_model: { kind: "not_found", passes: false },
  bad_request: { kind: "model_failed", passes: false },
  bad_answer: { kind: "model_failed", passes: false },
  cancelled: { kind: "cancelled", passes: false },
} as const satisfies Record<ModelTrouble, { kind: Failure["kind"]; passes: boolean }>;

/** A failure of a model call, with its reason in the details. */
export function toFailure(
  { name }: Pick<Speaker, "name">,
  reason: ModelTrouble,
  message: string,
  { waitMs, status }: { waitMs?: number | undefined; status?: number | undefined } = {},
): Failure {
  const { kind, passes } = kinds[reason];
  const details: JsonObject = {
    reason,
    provider: name,
    ...(status === undefined ? {} : { status }),
  };
  if (!passes) return terminal(kind, message, details);
  const mark = reason === "circuit_open" ? { untried: true as const } : {};
  return { ...retryable(kind, message, waitMs), ...mark, details };
}

/** OpenAI says it in milliseconds too, which is the finer of the two. */
function readWait(headers: Headers | undefined): number | undefined {
  const inMs = headers?.get("retry-after-ms")?.trim() ?? "";
  const coarse = readRetryAfter(headers?.get("retry-after"), Date.now());
  if (!/^\d{1,7}(?:\.\d{1,6})?$/u.test(inMs)) return coarse;
  // Through the same bound.
  return Math.min(Math.ceil(Number(inMs)), readRetryAfter("60", 0) ?? 0);
}

/** Google says it in the body alone: `"details": [{"@type": ".../google.rpc.RetryInfo", "retryDelay": "38s"}]`. */
function waitIn(said: unknown): number | undefined {
  const details = isJsonObject(said) && Array.isArray(said["details"]) ? said["details"] : [];
  for (const detail of details) {
    const delay = isJsonObject(detail) ? detail["retryDelay"] : null;
    const match = typeof delay === "string" ? /^(\d{1,7})(?:\.\d{1,9})?s$/u.exec(delay) : null;
    // Up to the next whole second, through the same bound as a header.
    if (match !== null)
      return readRetryAfter(String(Math.ceil(Number.parseFloat(String(delay)))), 0);
  }
  return undefined;
}

/** Of an error's words, characters that are searched for what they mean. */
const mostLookedAt = 4_000;
const mostWords = 500;

/** Without the key, and without it in pieces: its letters and digits in their order, with signs or blanks between them. */
function hideKey(text: string, key: string): string {
  const letters = key.replaceAll(/[^A-Za-z0-9]/gu, "");
  const whole = text.replaceAll(key, "[redacted]");
  if (letters.length < 2 * tellingPart) return whole;
  // No letter or digit is a sign, so that there is one way to read a text, and the search is linear.
  const inPieces = new RegExp([...letters].join("[^A-Za-z0-9]{0,8}"), "giu");
  return whole.replaceAll(inPieces, "[redacted]");
}

/** So many characters in a row of a key are no accident. */
const tellingPart = 8;

/**
 * A vendor's words, bounded and without the key. Vendors quote parts of it too, whatever they complain of: a word with a
 * part of the key in it is taken out whole. Where the key itself is the trouble, so is whatever begins or ends as it
 * does, or as keys do.
 */
export function quote(
  { apiKey }: Pick<Speaker, "apiKey">,
  text: string,
  isAboutKey = false,
): string {
  const key = apiKey ?? "";
  const bounded = cutText(text, 10 * mostWords);
  const whole = key === "" ? bounded : hideKey(bounded, key);
  const parts = Array.from({ length: Math.max(key.length - tellingPart + 1, 0) }, (_, at) =>
    key.slice(at, at + tellingPart),
  );
  const [start, end] = [key.slice(0, 4), key.slice(-4)];
  const isMasked = (word: string) =>
    /\*{3}|\.{3}|…/u.test(word) &&
    key.length >= tellingPart &&
    (word.includes(start) || word.includes(end));
  const isTelling = (word: string) =>
    parts.some((part) => word.includes(part)) ||
    isMasked(word) ||
    (isAboutKey && (/sk-|\*{3}/u.test(word) || (start.length === 4 && word.includes(start))));
  const hidden = whole
    .split(/(\s+)/u)
    .map((word) => (isTelling(word) ? "[redacted]" : word))
    .join("");
  return hidden.length > mostWords ? `${cutText(hidden, mostWords)}…` : cutText(hidden, mostWords);
}
