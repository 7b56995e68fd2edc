import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** Undici's own clocks are off: a call ends by its own time, whatever that is. */
const clocks = { headersTimeout: 0, bodyTimeout: 0 };

let loaded: typeof fetch | null = null;

/**
 * A `fetch` that waits as long as its signal lets it. Node's own gives a server up that is silent for five minutes, and a
 * tool may work for longer without a word. As with Node's, NODE_USE_ENV_PROXY=1 has the environment's proxies used.
 */
export const patientFetch: typeof fetch = (input, init) => {
  loaded ??= load();
  return loaded(input, init);
};

/** All of undici, which is a hundred modules: only for whom a server is reached over HTTP. */
function load(): typeof fetch {
  const {
    Agent,
    EnvHttpProxyAgent,
    fetch: fetchOver,
  } = require("undici") as typeof import("undici");
  const { NODE_USE_ENV_PROXY: isProxied, NODE_OPTIONS: nodeOptions = "" } = process.env;
  const flags = [...process.execArgv, nodeOptions].join(" ");
  const agent =
    isProxied === "1" || flags.includes("--use-env-proxy")
      ? // The time is a proxy's to open a tunnel.
        new EnvHttpProxyAgent({ allowH2: false, proxyTunnel: true, headersTimeout: 30_000 })
      : new Agent({ allowH2: false });
  const dispatcher = agent.compose(
    (dispatch) => (options, handler) => dispatch({ ...options, ...clocks }, handler),
  );
  // Undici's types are not the DOM's, though it is the same `fetch`.
  const over = fetchOver as unknown as (input: unknown, init: object) => Promise<Response>;
  return (input, init) => over(input, { ...init, dispatcher });
}
