import { createServer } from "node:http";
import {
  acceptedContent,
  createMcpHandler,
  fromJsonSchema,
  inputRequired,
  McpServer,
  type McpServerFactory,
} from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";

/**
 * A server of the second generation, which speaks the stateless revision of 2026-07-28: over HTTP on the port that
 * `PORT` names, else over its standard streams.
 */
const safe = { readOnlyHint: true };
let runs = 0;
let begun = 0;
let cancelled = 0;

const factory: McpServerFactory = () => {
  const server = new McpServer({ name: "stateless", version: "1" });
  const said = (text: string) => ({ content: [{ type: "text" as const, text }] });
  server.registerTool("greet", { annotations: safe }, () => said("good day"));
  server.registerTool("meta", { annotations: safe }, (context) =>
    said(JSON.stringify(context.mcpReq._meta ?? {})),
  );
  server.registerTool("again", {}, (context) => {
    runs += 1;
    const state = context.mcpReq.requestState<string>();
    if (state === undefined) return inputRequired({ requestState: "so far" });
    return said(`went on from ${state} in run ${runs}`);
  });
  server.registerTool("model", {}, () =>
    inputRequired({
      inputRequests: {
        said: inputRequired.createMessage({
          messages: [{ role: "user", content: { type: "text", text: "hello" } }],
          maxTokens: 10,
        }),
      },
    }),
  );
  server.registerTool("folders", {}, () =>
    inputRequired({ inputRequests: { roots: inputRequired.listRoots() } }),
  );
  const text = { type: "object" as const, properties: { text: { type: "string" as const } } };
  server.registerTool(
    "write",
    { inputSchema: fromJsonSchema<{ text: string }>(text) },
    (input, context) => {
      const answered = acceptedContent(context.mcpReq.inputResponses, "sure");
      const state = context.mcpReq.requestState<string>();
      if (answered !== undefined && state === `state of ${input.text}`) {
        runs += 1;
        return said(`wrote ${input.text} as ${JSON.stringify(answered)} in run ${runs}`);
      }
      const requestedSchema = {
        type: "object" as const,
        properties: {
          sure: { type: "boolean" as const },
          where: { type: "string" as const, default: "notes" },
        },
        required: ["sure"],
      };
      return inputRequired({
        requestState: `state of ${input.text}`,
        inputRequests: {
          sure: inputRequired.elicit({ message: `Write ${input.text}?`, requestedSchema }),
        },
      });
    },
  );
  server.registerTool("wait", { annotations: safe }, async (context) => {
    begun += 1;
    await new Promise((resolve) => context.mcpReq.signal.addEventListener("abort", resolve));
    cancelled += 1;
    return said("cancelled");
  });
  server.registerTool("was_cancelled", { annotations: safe }, () =>
    said(`${cancelled} of ${begun}`),
  );
  server.registerTool("die", {}, () => process.exit(1));
  return server;
};

const port = process.env["PORT"];
if (port === undefined) serveStdio(factory);
else {
  const handler = createMcpHandler(factory);
  createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { method = "GET", url = "/" } = request;
      const aborted = new AbortController();
      response.on("close", () => aborted.abort());
      const body = method === "POST" ? Buffer.concat(chunks) : null;
      const answer = await handler.fetch(
        new Request(`http://127.0.0.1:${port}${url}`, {
          method,
          headers: request.headers as Record<string, string>,
          body,
          signal: aborted.signal,
        }),
      );
      response.writeHead(answer.status, Object.fromEntries(answer.headers));
      for await (const chunk of answer.body ?? []) response.write(chunk);
      response.end();
    })().catch(() => response.destroy());
  }).listen(Number(port), "127.0.0.1");
}
