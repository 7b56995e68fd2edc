import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";

/** Listens on a free loopback port, or on the one given, and tells which. HTTP servers too. */
export async function listen(server: Server, port = 0, host = "127.0.0.1"): Promise<number> {
  server.listen(port, host);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
