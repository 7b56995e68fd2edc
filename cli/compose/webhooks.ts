import { type } from "arktype";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type {
  NoticeSettings,
  Webhook,
} from "../../adapters/control-plane/embedded/notices/webhooks.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import type { Config } from "../config/load-config.ts";
import type { WebhookSettings } from "../config/named-settings.ts";
import { type Env, readVariable } from "../config/secret-files.ts";
import { httpAddress } from "../config/values.ts";
import { secrets } from "../secrets.ts";

/** Characters of a secret at least: 128 bits as base64 writes them. */
const leastSecret = 22;

/**
 * The webhooks with their addresses and secrets, which are kept out of every log line from here on.
 *
 * @throws InvalidSetting that names the webhook and what is missing
 */
export async function chooseWebhooks(
  { settings, file }: Pick<Config, "settings"> & Partial<Pick<Config, "file">>,
  env: Env,
): Promise<NoticeSettings> {
  const { publicUrl, remindBeforeMs } = settings;
  const given = Object.entries(settings.webhooks ?? {});
  const folder = file == null ? process.cwd() : dirname(file);
  const webhooks = await Promise.all(
    given.map(async ([name, webhook]): Promise<Webhook> => {
      const source = `webhooks.${name} of ${file ?? "the configuration"}`;
      const refuse = (key: string, expected: string) =>
        new InvalidSetting(`webhooks.${name}.${key}`, source, expected);
      const url = urlOf(webhook, env, refuse);
      const secret = await secretOf(webhook, env, folder, refuse);
      // Slack's address is one long secret; a short path is a word like any other.
      const { pathname } = new URL(url);
      const telling = [url, pathname].filter((part) => part.length >= leastSecret);
      secrets.add([...(pathname === "/" ? [] : telling), ...(secret === null ? [] : [secret])]);
      const { answersAs: keyId = null, tenant } = webhook;
      return { name, url, secret, keyId, ...(tenant !== undefined && { tenant }) };
    }),
  );
  return { webhooks, publicUrl, remindBeforeMs };
}

type Refuse = (key: string, expected: string) => InvalidSetting;

function urlOf({ url, urlEnv = "" }: WebhookSettings, env: Env, refuse: Refuse): string {
  if (url !== undefined) return url;
  const read = httpAddress(readVariable(urlEnv, env)?.value.trim());
  if (!(read instanceof type.errors)) return read;
  throw refuse("urlEnv", `an http address in the environment variable ${urlEnv}`);
}

async function secretOf(
  { secretEnv, secretFile }: WebhookSettings,
  env: Env,
  folder: string,
  refuse: Refuse,
): Promise<string | null> {
  if (secretEnv === undefined && secretFile === undefined) return null;
  const [key, place] =
    secretFile === undefined
      ? ["secretEnv", `the environment variable ${secretEnv}`]
      : ["secretFile", `the file ${secretFile}`];
  const expected = `a secret of at least ${leastSecret} characters in ${place}`;
  const found =
    secretFile === undefined
      ? readVariable(secretEnv ?? "", env)?.value
      : await readFile(resolve(folder, secretFile), "utf8").catch(() => undefined);
  const secret = found?.trim() ?? "";
  if (secret.length < leastSecret) throw refuse(key, expected);
  return secret;
}
