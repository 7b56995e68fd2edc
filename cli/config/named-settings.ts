import { type } from "arktype";
import type {
  AirlockMode,
  AirlockRules,
  AirlockSettings,
} from "../../machines/contracts/domain/airlock/settings.ts";
import { priceShape } from "../../adapters/llm/prices.ts";
import { providerKinds } from "../../adapters/llm/providers.ts";
import {
  type OutputRule,
  outputRules,
  ruleActions,
} from "../../machines/contracts/domain/screening/output-rules.ts";
import { once } from "../../machines/contracts/domain/once.ts";
import { modelTroubles } from "../../machines/contracts/ports/model-provider.ts";
import { httpAddress } from "./values.ts";

/* Settings that are objects, and what stands under names that the user chooses. */

const ruleAction = once(() => type.enumerated(...ruleActions));

export const screeningSettings = once(() =>
  type({
    "+": "reject",
    /** By rule; those left out are as by default. */
    "output?": type(
      Object.fromEntries(outputRules.map((rule) => [`${rule}?`, ruleAction()])) as {
        [Rule in OutputRule as `${Rule}?`]: ReturnType<typeof ruleAction>;
      },
    ).onUndeclaredKey("reject"),
    "linkHosts?": "string[]",
    "injection?": "'off' | 'warn' | 'block'",
    "hiddenCharacters?": "'off' | 'remove'",
  }),
);

/** A provider of models; its name is the key it stands under, and stands before the slash in its models' names. */
const providerSettings = once(() =>
  type({
    "+": "reject",
    kind: type.enumerated(...providerKinds),
    "baseURL?": httpAddress,
    "contextWindow?": "number.integer > 0",
    /** The environment variable that holds its key; left out where it needs none. */
    "apiKeyEnv?": "string > 0",
    /** By model: dollars per million tokens. */
    "prices?": type({ "[string]": priceShape() }),
  }).narrow(
    ({ kind, baseURL }, ctx) =>
      kind !== "openai-compatible" ||
      baseURL !== undefined ||
      ctx.reject({ expected: "a provider with a baseURL, because its kind is openai-compatible" }),
  ),
);

/** It stands before a slash in the names of models; two names are taken. */
const isProviderName = (name: string) =>
  /^[\w-]+$/u.test(name) && name !== "scripted" && name !== "recorded";

const fallbackSettings = once(() =>
  type("string > 0").or({
    model: "string > 0",
    "on?": type.enumerated(...modelTroubles).array(),
  }),
);
export const fallbacksSettings = once(() => type({ "[string]": fallbackSettings().array() }));

export const providersSettings = once(() =>
  type({ "[string]": providerSettings() }).narrow((providers, ctx) => {
    const odd = Object.keys(providers).find((name) => !isProviderName(name));
    const expected = "names of letters, digits, - and _, other than scripted and recorded";
    return odd === undefined || ctx.reject({ expected });
  }),
);

export const pricesSettings = once(() => type({ "[string]": priceShape() }));

/** Where people are told of approvals; its name, the key it stands under, is in audit and log. */
const webhookSettings = once(() =>
  type({
    "+": "reject",
    "url?": httpAddress,
    /** The environment variable that holds its address: Slack's is a secret. */
    "urlEnv?": "string > 0",
    /** The environment variable, or the file, that holds what signs it; without either it is sent unsigned. */
    "secretEnv?": "string > 0",
    "secretFile?": "string > 0",
    /** The id of the API key as which whoever opens its links answers. */
    "answersAs?": "string > 0",
    /** Whose questions it hears of, by id or slug; those of the operator's own tenant where it is left out. */
    "tenant?": "string > 0",
  })
    .narrow(
      ({ url, urlEnv }, ctx) =>
        (url === undefined) !== (urlEnv === undefined) ||
        ctx.reject({ expected: "a webhook with either url or urlEnv" }),
    )
    .narrow(
      ({ secretEnv, secretFile }, ctx) =>
        secretEnv === undefined ||
        secretFile === undefined ||
        ctx.reject({ expected: "a webhook with one of secretEnv and secretFile" }),
    ),
);
export type WebhookSettings = ReturnType<typeof webhookSettings>["infer"];

export const webhooksSettings = once(() => type({ "[string]": webhookSettings() }));

/** What is inspected in tool calls, by this process's control plane and worker alike. */
export const airlockOf = (settings: {
  airlockMode: AirlockMode;
  airlock?: AirlockRules;
}): AirlockSettings => ({ mode: settings.airlockMode, rules: settings.airlock ?? {} });

/** A collection that retrieval steps may name. */
const collectionSettings = once(() =>
  type({
    "+": "reject",
    /** `index`: kept by this machine; `http`: kept by the service at `retrievalEndpoint`. */
    "backend?": "'index' | 'http'",
    /** Files and folders that are ingested, relative to the configuration's folder. */
    "sources?": "string[]",
    /** `local`, `none`, or a provider and its model: `openai/text-embedding-3-small`. */
    "embeddings?": "string > 0",
    /** Of a provider's vectors, where its model can give fewer. */
    "dimensions?": "1 <= number.integer <= 4096",
  }),
);
export type CollectionSettings = ReturnType<typeof collectionSettings>["infer"];

/** It is a file's name on every system; `a` and `A` are one file on some. */
const isCollectionName = (name: string) => /^[a-z0-9][a-z0-9_-]{0,63}$/u.test(name);

export const collectionsSettings = once(() =>
  type({ "[string]": collectionSettings() }).narrow(
    (collections, ctx) =>
      Object.keys(collections).every(isCollectionName) ||
      ctx.reject({ expected: "names of small letters, digits, - and _, at most 64" }),
  ),
);
