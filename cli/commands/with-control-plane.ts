import { type ControlPlaneApi, createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { UnusableTarget } from "../../adapters/control-plane/http.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type { Context } from "../command.ts";
import { type DevNote, readDevNote } from "../dev-note.ts";
import { failureError, CliError } from "../output/errors.ts";
import type { Invocation } from "../program.ts";
import { secrets } from "../secrets.ts";
import { commandLine } from "../called-as.ts";

/** A client whose failures end the command, each in one line. */
export interface Client {
  api: ControlPlaneApi;
  signal: AbortSignal;
  /** The value of an answer; a failure is thrown as a CliError. */
  value<T>(answer: Promise<Outcome<T>>): Promise<T>;
  /**
   * Turns `api` to a `dev` that was started again in this folder, with another address or key than before. False where
   * there is none, or where the configuration says which control plane it is.
   */
  moved(): Promise<boolean>;
}

/**
 * Finds the control plane, by the configuration or by a `stateplane dev` that runs in this folder, and closes
 * the connection after the work.
 *
 * @throws CliError when there is none, or a call fails
 */
export async function withControlPlane<T>(
  { config, stopping }: Pick<Context, "config" | "stopping">,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const { settings } = config;
  let target = await findTarget(config);
  const timeoutMs = settings.requestTimeoutMs;
  const { signal } = stopping;
  const apis: ControlPlaneApi[] = [];
  const open = () => {
    const { url, apiKey } = target;
    secrets.add([apiKey]);
    const api = openApi({ url, apiKey, timeoutMs }, config);
    apis.push(api);
    return api;
  };
  const value = async <V>(answer: Promise<Outcome<V>>): Promise<V> => {
    const outcome = await answer;
    if (outcome.ok) return outcome.value;
    throw failureError(outcome.failure);
  };
  const moved = async () => {
    const note = settings.controlPlaneUrl === null ? await readDevNote(settings.dataDir) : null;
    if (note === null || (note.url === target.url && note.apiKey === target.apiKey)) return false;
    target = note;
    client.api = open();
    return true;
  };
  const client: Client = { api: open(), signal, value, moved };
  try {
    return await work(client);
  } finally {
    await Promise.all(apis.map((each) => each.close()));
  }
}

async function findTarget({
  settings,
}: Context["config"]): Promise<Pick<DevNote, "url" | "apiKey">> {
  const { controlPlaneUrl, apiKey, dataDir } = settings;
  const note = await readDevNote(dataDir);
  if (controlPlaneUrl === null) {
    if (note !== null) return note;
    throw new CliError(
      2,
      `there is no control plane: CONTROL_PLANE_URL is not set, and no \`dev\` runs with ${dataDir}; start one: ${commandLine("dev")}`,
    );
  }
  const key = apiKey ?? (note?.url === controlPlaneUrl ? note.apiKey : null);
  if (key === null) {
    throw new CliError(2, `FD_API_KEY is not set: expected the key of ${controlPlaneUrl}`);
  }
  return { url: controlPlaneUrl, apiKey: key };
}

/** The client refuses what could not be sent; here it is known where that came from. */
export function openApi(
  options: { url: string; apiKey: string; timeoutMs: number },
  { sources }: Pick<Context["config"], "sources">,
): ControlPlaneApi {
  try {
    return createControlPlaneApi(options);
  } catch (error) {
    if (!(error instanceof UnusableTarget)) throw error;
    const { part, expected } = error;
    if (part === "apiKey") throw new InvalidSetting("FD_API_KEY", sources.apiKey, expected);
    throw new InvalidSetting("controlPlaneUrl", sources.controlPlaneUrl, expected);
  }
}

const standard = 20;
const most = 100;

/** `--limit N`. @throws CliError */
export function readLimit({ flags }: Pick<Invocation, "flags">): number {
  const given = flags["limit"];
  if (typeof given !== "string") return standard;
  const limit = /^\d+$/.test(given) ? Number(given) : Number.NaN;
  if (limit >= 1 && limit <= most) return limit;
  throw new CliError(
    2,
    `--limit: expected a whole number from 1 to ${most}, not ${JSON.stringify(given)}`,
  );
}
