import { isSecretKey } from "../machines/contracts/domain/secret-names.ts";
import { createRedactor } from "../machines/contracts/domain/screening/known-secrets.ts";
import type { McpServer } from "../adapters/mcp/config.ts";
import type { RuntimePorts } from "../actors/ports.ts";
import type { Failure } from "../machines/contracts/domain/failure.ts";
import { type Json, type JsonObject, withOwnNames } from "../machines/contracts/domain/json.ts";
import type { Settings } from "./config/settings.ts";
import { headerSecrets } from "./config/collector-headers.ts";
import { type Env, readVariable } from "./config/secret-files.ts";
import { settingSources } from "./config/setting-sources.ts";

/**
 * The secrets that this process holds. Neighbours give them back: a provider's refusal quotes the key, a tool server
 * prints its environment. So they are taken out, literally, wherever a text leaves: log lines, failures (and so
 * reports and records), spans, printed errors.
 */
export const secrets = createRedactor();

/** Keys, and the passwords and queries of addresses, of the settings; variables whose name says that they are secret. */
export function learnSecrets(settings: Settings, env: Env): void {
  for (const [key, { mask }] of Object.entries(settingSources)) {
    const value = settings[key as keyof Settings];
    if (typeof value !== "string") continue;
    if (mask === "secret") secrets.add([value]);
    if (mask === "url") secrets.add(secretsOfUrl(value));
  }
  for (const { apiKeyEnv, baseURL } of Object.values(settings.providers ?? {})) {
    const key = apiKeyEnv === undefined ? null : readVariable(apiKeyEnv, env);
    if (key !== null) secrets.add([key.value.trim()]);
    if (baseURL !== undefined) secrets.add(secretsOfUrl(baseURL));
  }
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && isSecretOf(name, value)) secrets.add([value]);
  }
  secrets.add(headerSecrets(env));
}

/**
 * What MCP servers are given: the variables that their configuration expands, headers, addresses.
 *
 * @param expanded the values of the variables
 */
export function learnServers(servers: readonly McpServer[], expanded: Iterable<string>): void {
  secrets.add([...expanded].filter(isTelling));
  for (const { env = {}, headers = {}, url, bearerToken, oauth } of servers) {
    secrets.add([bearerToken, oauth?.clientSecret].filter((text) => text !== undefined));
    const named = Object.entries(env).filter(([name, value]) => isSecretOf(name, value));
    secrets.add(named.map(([, value]) => value));
    for (const [name, value] of Object.entries(headers)) {
      if (!isSecretOf(name, value) && !isTelling(value)) continue;
      // `Bearer abc`: the second word by itself too.
      secrets.add([value, ...value.split(/\s+/u).slice(1)]);
    }
    if (url !== undefined) secrets.add(secretsOfUrl(url));
  }
}

/** Under a secret's name everything is one, however plain, but for where one lies: `SSH_AUTH_SOCK`, `TOKEN_FILE`. */
function isSecretOf(name: string, value: string): boolean {
  // `PWD` is where a shell stands, and no password.
  const saysPlace = /^(?:OLD)?PWD$|(?:^|_)(?:SOCK|FILE|PATH|DIR|HOME)$/iu.test(name);
  const isPlace = saysPlace && /^[~.]{0,2}\//u.test(value);
  return isSecretKey(name) && !isPlace;
}

/** Of a value whose name says nothing: a path, a number or one plain word is in many texts, and is hardly a secret. */
function isTelling(value: string): boolean {
  return value.length >= 8 && !/^(?:[~.]?\/|[a-z]+$|[\d.:]+$|[a-z]+\/[\w.+-]+$)/u.test(value);
}

function secretsOfUrl(text: string): string[] {
  const url = URL.parse(text);
  if (url === null) return [];
  const { password } = url;
  return [password, decoded(password), ...url.searchParams.values()].filter((part) => part !== "");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The same neighbours, whose failures tell no secret of ours. */
export function hideSecrets(ports: RuntimePorts): RuntimePorts {
  const { models, tools, sandbox, retrievers, artifacts, controlPlane } = ports;
  const { local, http, collections } = retrievers;
  return {
    ...ports,
    controlPlane: hiding(controlPlane),
    models: hiding(models),
    tools: hiding(tools),
    sandbox: "missing" in sandbox ? sandbox : hiding(sandbox),
    retrievers: {
      local,
      http: http === null ? null : hiding(http),
      ...(collections === undefined ? {} : { collections: hidingEach(collections) }),
    },
    artifacts: hiding(artifacts),
  };
}

function hidingEach(
  collections: NonNullable<RuntimePorts["retrievers"]["collections"]>,
): NonNullable<RuntimePorts["retrievers"]["collections"]> {
  const each = [...collections].map(
    ([name, { backend, retriever }]) => [name, { backend, retriever: hiding(retriever) }] as const,
  );
  return new Map(each);
}

/** A port of promised outcomes, in whose failures no secret of ours stands; other members pass as they are. */
export function hiding<T extends object>(port: T): T {
  const verbs = new Map<unknown, unknown>();
  return new Proxy(port, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      const known = verbs.get(member);
      if (known !== undefined) return known;
      const verb = (...args: unknown[]): unknown => {
        const answer: unknown = member.apply(target, args);
        return answer instanceof Promise ? answer.then(hidden) : answer;
      };
      verbs.set(member, verb);
      return verb;
    },
  });
}

function hidden(answer: unknown): unknown {
  return isFailed(answer) ? { ok: false, failure: hideInFailure(answer.failure) } : answer;
}

function isFailed(answer: unknown): answer is { ok: false; failure: Failure } {
  return (
    typeof answer === "object" &&
    answer !== null &&
    "ok" in answer &&
    answer.ok === false &&
    "failure" in answer
  );
}

function hideInFailure(failure: Failure): Failure {
  const message = secrets.redact(failure.message);
  const { details } = failure;
  if (details === undefined) return { ...failure, message };
  return { ...failure, message, details: hideIn(details) as JsonObject };
}

/** Every text and every key of a JSON value. */
function hideIn(value: unknown): unknown {
  if (typeof value === "string") return secrets.redact(value);
  if (Array.isArray(value)) return value.map(hideIn);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, item]): [string, Json] => [
    secrets.hide(key),
    hideIn(item) as Json,
  ]);
  return withOwnNames(entries);
}
