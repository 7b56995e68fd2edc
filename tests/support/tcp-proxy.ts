import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { listen } from "./listen.ts";

export interface TcpProxy {
  port: number;
  /** From now on nothing passes on the connections there are; new ones work. */
  freeze(): void;
  /** Ends the connections there are; new ones work. */
  cut(): void;
  /** New connections lead to this port from now on; those there are stay where they lead. */
  leadTo(port: number): void;
  /** How many connections were made. */
  connections(): number;
  stop(): Promise<void>;
}

/** A wire to a local port that can go dead without closing, as networks do. */
export async function startTcpProxy(target: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let current = target;
  let made = 0;
  const server = createServer((near) => {
    made += 1;
    const far = createConnection(current, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("data", (chunk) => to.write(chunk));
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  return {
    port: await listen(server),
    freeze: () => {
      for (const socket of sockets) socket.pause().removeAllListeners("data");
    },
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    leadTo: (port) => (current = port),
    connections: () => made,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
