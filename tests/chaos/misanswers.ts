import type { ServerResponse } from "node:http";

/** What answers in the control plane's place, as sign-in pages, load balancers and caches do. */
const answers: readonly ((response: ServerResponse) => void)[] = [
  (response) => void response.writeHead(200, { "content-type": "text/html" }).end(page),
  (response) => void response.writeHead(204).end(),
  (response) => void response.writeHead(302, { location: "https://sign-in.example/" }).end(),
  (response) => void response.writeHead(404, { "content-type": "text/html" }).end(page),
  (response) => void response.writeHead(404, { "content-type": "text/plain" }).end("404 not found"),
  (response) => void response.writeHead(400, { "content-type": "text/html" }).end(page),
];
const page = "<html><body><h1>nginx</h1></body></html>";

/** Answers as one of them does. `drawn` in [0, 1) says which. */
export function misanswer(response: ServerResponse, path: string, drawn: number): void {
  if (path === "/health" && drawn < 0.5) {
    response.writeHead(200, { "content-type": "text/plain" }).end("ok");
    return;
  }
  answers[Math.floor(drawn * answers.length)]?.(response);
}

export function refuseKey(response: ServerResponse): void {
  const body = { error: { code: "UNAUTHORIZED", message: "Invalid API key" } };
  response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify(body));
}
