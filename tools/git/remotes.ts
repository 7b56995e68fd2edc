import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { matchesGlob } from "node:path/posix";
import type { Answer } from "../shared/server-tool.ts";
import { type ConfigEntry, configEnvironment } from "./guards.ts";
import { secondNameOf } from "./references.ts";
import { cleanEnvironment, openRepository } from "./repository.ts";

/** What of the outside this server may reach, by the command line it was started with. */
export interface RemotePolicy {
  /** `host` or `host:port`, lower case. */
  hosts: ReadonlySet<string>;
  /** Names or globs of branches that are never pushed to, and never deleted. */
  protect: readonly string[];
  /** A host's token. */
  tokens: ReadonlyMap<string, string>;
}

/** @throws Error - one line that says which option can't be used, and why */
export function readRemotePolicy(given: {
  hosts: readonly string[];
  protect: readonly string[];
  tokens: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
}): RemotePolicy {
  const hosts = given.hosts.map((host) => {
    const url = URL.parse(`https://${host}/`);
    if (url === null || url.host !== host.toLowerCase()) {
      throw new Error(`--allow-host ${host}: expected a host name, or host:port`);
    }
    return url.host;
  });
  const tokens = given.tokens.map((pair) => {
    const [host = "", variable = ""] = pair.split("=");
    const token = given.env[variable];
    if (!hosts.includes(host.toLowerCase())) {
      throw new Error(
        `--token ${pair}: expected HOST=VARIABLE, its host given by --allow-host too`,
      );
    }
    if (token === undefined || token === "") {
      throw new Error(`--token ${pair}: the environment variable ${variable} is not set`);
    }
    return [host.toLowerCase(), token] as const;
  });
  return { hosts: new Set(hosts), protect: given.protect, tokens: new Map(tokens) };
}

export function isProtected({ protect }: RemotePolicy, branch: string): boolean {
  // As in every other list of this project, a star does not stop at a slash.
  const flat = (text: string) => text.toLowerCase().replaceAll("/", "\u0001");
  return protect.some((pattern) => matchesGlob(flat(branch), flat(pattern)));
}

/** A repository elsewhere that may be reached, and the surroundings in which git reaches it and nothing else. */
export interface Remote {
  /** As git gets it, and as it may be shown: without a user name or password. */
  address: string;
  env: Record<string, string>;
  /** What may help where it can't be reached, to be put behind the reason. */
  hint: string;
  /** The branch that one of its branches is a second name of; null where it is none, or that can't be seen from here. */
  secondNameOf(branch: string): Promise<string | null>;
  /** The shell command line of the program at the other end, where that is this machine. */
  serverCommand(program: "upload-pack" | "receive-pack"): string | null;
}

/**
 * What an address leads to: an https host of the list, or a repository directly in the workspace, by its name, its path
 * or its `file:` URL. Everything else is refused: other protocols, `host:path` (which is ssh), paths elsewhere.
 */
export async function findRemote(
  address: string,
  { workspace, remotes, signal }: { workspace: string; remotes: RemotePolicy; signal: AbortSignal },
): Promise<Answer<Remote>> {
  const url = URL.parse(address);
  if (url !== null && url.protocol === "https:") return findHost(url, remotes);
  const name = localName(address, url, workspace);
  const said = JSON.stringify(address.slice(0, 200).toWellFormed());
  if (name === null) {
    return {
      ok: false,
      problem: `${said} can't be reached: expected an https address, or a repository in the workspace`,
    };
  }
  const opened = await openRepository(workspace, name, { onFilter: "skip", bare: true, signal });
  if (!opened.ok) return opened;
  const { gitFolder, environment } = opened.value;
  const repository = opened.value;
  return {
    ok: true,
    value: {
      address: gitFolder,
      env: { ...networkEnvironment([]), GIT_ALLOW_PROTOCOL: "file" },
      hint: "",
      secondNameOf: (branch) => secondNameOf(repository, branch),
      // Git takes its configuration out of the environment before it starts the other side, which would then honour its
      // repository's hooks. So that side gets the closed configuration once more.
      serverCommand: (program) =>
        [
          ...Object.entries(environment)
            .filter(([key]) => key.startsWith("GIT_CONFIG_"))
            .map(([key, value]) => `${key}=${shellQuote(value)}`),
          `git ${program}`,
        ].join(" "),
    },
  };
}

function findHost(url: URL, { hosts, tokens }: RemotePolicy): Answer<Remote> {
  const { host } = url;
  if (url.username !== "" || url.password !== "") {
    return { ok: false, problem: "an address must not hold a user name or a password" };
  }
  if (!hosts.has(host)) {
    const allowed = hosts.size === 0 ? "no host is" : `allowed are ${[...hosts].join(", ")}`;
    return { ok: false, problem: `host ${host} is not allowed (${allowed}); see --allow-host` };
  }
  const token = tokens.get(host);
  const header =
    token === undefined
      ? []
      : ([
          [
            `http.https://${host}/.extraHeader`,
            `Authorization: Basic ${Buffer.from(`x-access-token:${token}`).toString("base64")}`,
          ],
        ] as const);
  const env = { ...networkEnvironment(header), GIT_ALLOW_PROTOCOL: "https" };
  const hint =
    token === undefined
      ? ` (no token was sent; one for this host would come from --token ${host}=VARIABLE)`
      : ` (the token of --token ${host} was sent)`;
  const secondName = () => Promise.resolve(null);
  const value = {
    address: url.href,
    env,
    hint,
    secondNameOf: secondName,
    serverCommand: () => null,
  };
  return { ok: true, value };
}

/** The name of a repository in the workspace that an address means, or null. */
function localName(address: string, url: URL | null, workspace: string): string | null {
  if (/^[A-Za-z0-9._][A-Za-z0-9._-]*$/.test(address)) return address;
  let path = address;
  try {
    if (url !== null && url.protocol === "file:") path = fileURLToPath(url);
  } catch {
    return null;
  }
  const folder = path.replace(/\/(?:\.git)?\/?$/, "");
  return dirname(folder) === workspace ? basename(folder) : null;
}

/** What the operator of this server may say of the way to the network, by its own environment. */
const passedOn = ["GIT_SSL_CAINFO", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];

function networkEnvironment(more: readonly ConfigEntry[]): Record<string, string> {
  const own = passedOn.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...cleanEnvironment(),
    ...Object.fromEntries(own),
    ...configEnvironment([
      // A host of the list must not send us to another.
      ["http.followRedirects", "false"],
      ["http.sslVerify", "true"],
      ["http.lowSpeedLimit", "1000"],
      ["http.lowSpeedTime", "60"],
      ["credential.helper", ""],
      ["core.hooksPath", "/dev/null"],
      ["core.fsmonitor", "false"],
      ["core.askPass", "false"],
      ["gc.auto", "0"],
      ["maintenance.auto", "false"],
      ["submodule.recurse", "false"],
      ["push.recurseSubmodules", "no"],
      ["advice.detachedHead", "false"],
      ...more,
    ]),
  };
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
