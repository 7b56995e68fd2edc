import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import type { Context } from "../command.ts";

/**
 * `dev --watch`: the same command line in a child under Node's own watch mode, which starts it again when the
 * configuration or a file that it imports changes. Steps may finish first, and all state is in the data folder. Port and
 * key stay the same, so that a client which watches a run finds the new one.
 *
 * @returns the child's exit code
 */
export async function watchFiles({
  config,
  env,
}: Pick<Context, "config" | "env">): Promise<number> {
  const [program = "", ...args] = process.argv.slice(1);
  const { apiKey, port } = config.settings;
  const child = spawn(
    process.execPath,
    ["--watch", "--watch-preserve-output", program, ...args.filter((arg) => arg !== "--watch")],
    {
      stdio: "inherit",
      env: {
        ...env,
        FD_API_KEY: apiKey ?? `fd_dev_${randomBytes(16).toString("hex")}`,
        STATEPLANE_PORT: String(port ?? (await freePort())),
      },
    },
  );
  // A terminal sends Ctrl-C to both; what was sent to this process alone is passed on.
  const forward = () => child.kill("SIGTERM");
  process.on("SIGTERM", forward);
  const [code] = (await once(child, "exit")) as [number | null];
  process.off("SIGTERM", forward);
  return code ?? 0;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
