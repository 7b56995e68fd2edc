import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { listen } from "./listen.ts";

export interface Said {
  status: number;
  headers?: Record<string, string>;
  text: string;
}
export type Answers = (call: string, text: string) => Said;

/** A server that answers each call as it is told, whatever was asked. */
export async function startAnswering(answers: Answers, timeoutMs = 5_000) {
  let answer = answers;
  const seen: { call: string; text: string; headers: IncomingMessage["headers"] }[] = [];
  const server = createServer((incoming, response) => {
    void respond(incoming, response);
  });
  const respond = async (incoming: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const call = `${incoming.method} ${incoming.url}`;
    seen.push({ call, text, headers: incoming.headers });
    const said = answer(call, text);
    response.writeHead(said.status, said.headers);
    response.end(said.status === 204 || said.status === 304 ? undefined : said.text);
  };
  const url = `http://127.0.0.1:${await listen(server)}`;
  const options = { url, apiKey: "key", timeoutMs };
  const api = createControlPlaneApi(options);
  return {
    url,
    options,
    seen,
    api,
    worker: createControlPlane(api),
    answer: (next: Answers) => void (answer = next),
    async close() {
      await api.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

export const json = (body: unknown, status = 200): Said => ({
  status,
  headers: { "content-type": "application/json" },
  text: typeof body === "string" ? body : JSON.stringify(body),
});
