import { createServer, type RequestListener, type Server } from "node:http";
import { afterEach } from "vitest";
import { listen } from "./listen.ts";

export interface HttpServers {
  /** A server on a loopback port of its own; `url` has no path. */
  serve(listener: RequestListener): Promise<{ url: string; server: Server }>;
}

/** HTTP servers for the tests of a file; they are gone after each test. */
export function useHttpServers(): HttpServers {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });
  return {
    async serve(listener) {
      const server = createServer(listener);
      servers.push(server);
      return { url: `http://127.0.0.1:${await listen(server)}`, server };
    },
  };
}
