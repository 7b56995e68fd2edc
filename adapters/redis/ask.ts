import { createConnection } from "node:net";

/** Where a Redis server listens: a unix socket, or a port with the password it asks for. */
export type Address = { path: string } | { host: string; port: number; password?: string };

/**
 * Sends one inline command on a connection of its own and resolves to the first line of its reply, or to
 * the empty text when the server closes without one (as on `SHUTDOWN`). A look before any client exists.
 *
 * @throws the socket's error, or one named after the time limit (`timeoutMs`, milliseconds)
 */
export function ask(address: Address, command: string, timeoutMs: number): Promise<string> {
  const password = "password" in address ? address.password : undefined;
  const lines = password === undefined ? [command] : [`AUTH ${password}`, command];
  return new Promise((resolve, reject) => {
    const socket = createConnection(address);
    let text = "";
    socket.setTimeout(timeoutMs, () => {
      socket.destroy(new Error(`no answer to ${command} within ${timeoutMs} ms`));
    });
    socket.on("connect", () => socket.write(`${lines.join("\r\n")}\r\n`));
    socket.on("data", (chunk) => {
      text += chunk.toString();
      if (text.split("\r\n").length > lines.length) socket.end();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text.split("\r\n")[lines.length - 1] ?? ""));
  });
}
