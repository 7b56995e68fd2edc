import { spawn } from "node:child_process";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { localhostCertificate, localhostKey } from "./localhost-certificate.ts";

export interface GitHttpsServer {
  /** `localhost:PORT`. */
  host: string;
  /** The `Authorization` headers that came, in their order; null for a request without one. */
  authorizations: (string | null)[];
  /** Where requests are sent on to, in place of an answer; null while they are answered. */
  redirect: string | null;
  close(): Promise<void>;
}

/**
 * The repositories of a folder over https, by git's own git-http-backend(1), for who sends the token as GitHub takes it:
 * the password of any user name.
 */
export async function startGitHttpsServer(folder: string, token: string): Promise<GitHttpsServer> {
  const wanted = `Basic ${Buffer.from(`x-access-token:${token}`).toString("base64")}`;
  const server = createServer({ key: localhostKey, cert: localhostCertificate });
  const state: GitHttpsServer = {
    host: "",
    authorizations: [],
    redirect: null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  server.on("request", (request, response) => {
    const { authorization = null } = request.headers;
    state.authorizations.push(authorization);
    if (state.redirect !== null) {
      response.writeHead(302, { location: `${state.redirect}${request.url ?? ""}` }).end();
    } else if (authorization === wanted) answer(folder, request, response);
    else response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  state.host = `localhost:${(server.address() as AddressInfo).port}`;
  return state;
}

/** CGI (RFC 3875): the request in the environment, and an answer that begins with its own headers. */
function answer(folder: string, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "/", "https://localhost");
  const { "content-type": type = "", "content-encoding": encoding = "" } = request.headers;
  const child = spawn("git", ["http-backend"], {
    env: {
      PATH: process.env["PATH"],
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: "1",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
      REMOTE_USER: "somebody",
      REQUEST_METHOD: request.method,
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: type,
      HTTP_CONTENT_ENCODING: encoding,
    },
  });
  request.pipe(child.stdin);
  child.stdin.on("error", () => undefined);
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.on("close", () => {
    const all = Buffer.concat(chunks);
    const end = all.indexOf("\r\n\r\n");
    const headers = all
      .subarray(0, end)
      .toString()
      .split("\r\n")
      .map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]);
    const status = headers.find(([name]) => name.toLowerCase() === "status")?.[1] ?? "200";
    const others = headers.filter(([name]) => name.toLowerCase() !== "status");
    response.writeHead(Number(status.slice(0, 3)), Object.fromEntries(others));
    response.end(all.subarray(end + 4));
  });
}
