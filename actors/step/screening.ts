import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { isSecretKey } from "../../machines/contracts/domain/secret-names.ts";
import {
  createRedactor,
  type Redactor,
} from "../../machines/contracts/domain/screening/known-secrets.ts";
import { isSecretValue } from "../../machines/contracts/domain/screening/named-secrets.ts";
import {
  createOutputScreen,
  type OutputScreen,
  type OutputScreening,
  type Screened,
} from "../../machines/contracts/domain/screening/output-rules.ts";
import { redactText } from "../../machines/contracts/domain/screening/secrets.ts";
import { hideSpans } from "../../machines/contracts/domain/screening/spans.ts";
import type { RuntimeOptions } from "../options.ts";
import type { StepSession } from "./session.ts";

/*
 * What leaves a step: its output, what an agent's model is shown of a tool's result, its failures, its log lines. Outputs
 * go by the rules of the configuration; from failures and logs secrets are taken out whatever it says.
 *
 *   known to the worker      its keys, passwords, headers: by their values (options.knownSecrets)
 *   of the job               what stands under a secret's name in its input: by their values (StepSession.ownSecrets)
 *   anybody's                by their form, and by their name
 */

/** What one step gives on is screened with. */
export interface StepScreen {
  /** @param at the JSON pointer of the value, where it will be a part of another */
  screen(value: Json, at?: string): Screened;
  /** Without secrets, in its message and its details. */
  hideInFailure(failure: Failure): Failure;
  hideInText(text: string): string;
}

export function screenOf({
  options,
  session,
}: {
  options: Pick<RuntimeOptions, "screening" | "knownSecrets">;
  session: Pick<StepSession, "ownSecrets">;
}): StepScreen {
  const { knownSecrets = null } = options;
  const own = session.ownSecrets();
  const find =
    own === null
      ? knownSecrets === null
        ? null
        : (text: string) => knownSecrets.find(text)
      : (text: string) => [...(knownSecrets?.find(text) ?? []), ...own.find(text)];
  const hideInText = (text: string): string =>
    redactText(find === null ? text : hideSpans(text, find(text)));
  const screen = outputScreen(options.screening.output);
  return {
    screen: (value, at) => screen(value, find, at),
    hideInText,
    hideInFailure(failure) {
      const message = hideInText(failure.message);
      const { details } = failure;
      if (details === undefined) {
        return message === failure.message ? failure : { ...failure, message };
      }
      return {
        ...failure,
        message,
        details: outputScreen(secretsAlone)(details, find).value as JsonObject,
      };
    },
  };
}

const secretsAlone: OutputScreening = {
  rules: {
    secrets: "redact",
    emails: "off",
    phones: "off",
    cards: "off",
    ibans: "off",
    socialSecurityNumbers: "off",
    foreignLinks: "off",
    activeLinks: "off",
    controlCharacters: "off",
  },
  linkHosts: [],
};

/** Made once for each configuration: its tables are larger than most texts. */
const screens = new WeakMap<OutputScreening, OutputScreen>();

function outputScreen(screening: OutputScreening): OutputScreen {
  const known = screens.get(screening);
  if (known !== undefined) return known;
  const made = createOutputScreen(screening);
  screens.set(screening, made);
  return made;
}

/** What a job's input has under the names of secrets, and in lists of variables; null where there is nothing. */
export function secretsOfJob(job: Job): Redactor | null {
  const values: string[] = [];
  const take = (name: Json | undefined, value: Json | undefined): void => {
    if (typeof value !== "string" || typeof name !== "string") return;
    if (isSecretKey(name) && isSecretValue(value)) values.push(value);
  };
  const waiting: Json[] = [job.input];
  for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) {
    if (isJsonObject(item)) {
      take(item["name"] ?? item["key"], item["value"]);
      for (const [key, part] of Object.entries(item)) {
        take(key, part);
        if (typeof part === "object" && part !== null) waiting.push(part);
      }
    } else if (Array.isArray(item)) {
      for (const part of item) if (typeof part === "object" && part !== null) waiting.push(part);
    }
  }
  return values.length === 0 ? null : createRedactor(values);
}
