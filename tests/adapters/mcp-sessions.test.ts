import { createServer } from "node:http";
import { describe, expect, test } from "vitest";
import { callTool } from "../support/call-tool.ts";
import { failure } from "../support/failure.ts";
import { listen } from "../support/listen.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { value } from "../support/value.ts";
import { serveMcp } from "../support/web-mcp-server.ts";

const never = new AbortController().signal;
const { hostOf, odd, warnings } = useMcpHosts();

describe("a session that the server forgot", () => {
  test("is opened once more for all who wait, and what was given up is not sent again [mcp.sessions]", async () => {
    const server = await serveMcp();
    const host = hostOf([{ name: "web", url: server.url, bearerToken: "token" }]);
    value(await host.list(never));
    const opened = server.sessions();
    server.forget();
    // The first finds out; the others come while the session is opened anew, and one of them gives up.
    expect(failure(await callTool(host, "give", {}, never)).kind).toBe("unavailable");
    const abort = new AbortController();
    const waiting = Array.from({ length: 20 }, (_, at) =>
      callTool(host, "give", {}, at === 7 ? abort.signal : never),
    );
    abort.abort();
    const outcomes = await Promise.all(waiting);
    expect(outcomes.filter(({ ok }) => ok)).toHaveLength(19);
    expect(server.sessions() - opened).toBe(1);
    expect(server.calls("give")).toBe(19);
    await host.close();
    await server.stop();
  });
});

describe("who we are", () => {
  test("a bearer token of the configuration is sent with every request [mcp.credentials]", async () => {
    const server = await serveMcp();
    const right = hostOf([{ name: "web", url: server.url, bearerToken: "token" }]);
    expect(value(await callTool(right, "greet", {}, never)).content).toBe("good day");
    const wrong = hostOf([{ name: "web", url: server.url, bearerToken: "another" }]);
    expect(failure(await wrong.list(never))).toMatchObject({
      kind: "unauthorized",
      retryable: false,
    });
    await Promise.all([right.close(), wrong.close()]);
    await server.stop();
  });

  test("client credentials bring a token, once, from the issuer that is configured and from no other [mcp.credentials]", async () => {
    const server = await serveMcp();
    const asked: { form: string; authorization: string | undefined }[] = [];
    let issuer = "";
    const authorization = createServer((request, response) => {
      void (async () => {
        let form = "";
        for await (const chunk of request) form += String(chunk);
        const say = (body: object): void => {
          response.writeHead(200, { "content-type": "application/json" });
          response.end(JSON.stringify(body));
        };
        if (request.method === "POST") {
          asked.push({ form, authorization: request.headers.authorization });
          return say({ access_token: "token", token_type: "Bearer", expires_in: 3_600 });
        }
        return say({
          issuer,
          token_endpoint: `${issuer}/token`,
          authorization_endpoint: `${issuer}/authorize`,
          response_types_supported: ["code"],
          grant_types_supported: ["client_credentials"],
          token_endpoint_auth_methods_supported: ["client_secret_basic"],
        });
      })();
    });
    issuer = `http://127.0.0.1:${await listen(authorization)}`;
    server.authorizedBy(issuer);
    const client = { clientId: "worker", clientSecret: "hush", scope: "tools" };
    const host = hostOf([{ name: "web", url: server.url, oauth: { ...client, issuer } }]);
    const calls = Array.from({ length: 5 }, () => callTool(host, "greet", {}, never));
    for (const called of await Promise.all(calls)) expect(value(called).content).toBe("good day");
    expect(asked).toHaveLength(1);
    expect(asked[0]?.form).toContain("grant_type=client_credentials");
    const sent = Buffer.from(asked[0]?.authorization?.split(" ")[1] ?? "", "base64").toString();
    expect(sent).toBe("worker:hush");

    const elsewhere = { ...client, issuer: "https://login.example.com" };
    const wary = hostOf([{ name: "web", url: server.url, oauth: elsewhere }]);
    expect(failure(await wary.list(never)).kind).toBe("unauthorized");
    expect(asked).toHaveLength(1);
    await Promise.all([host.close(), wary.close()]);
    authorization.closeAllConnections();
    authorization.close();
    await server.stop();
  });
});

describe("a server that is started eagerly", () => {
  test("is there before it is used, and again after it died [mcp.eager]", async () => {
    const host = hostOf([{ ...odd(), start: "eager" }]);
    await expect.poll(() => host.states()).toEqual({ odd: "ready" });
    const pid = Number(value(await callTool(host, "pid", {}, never)).content);
    process.kill(pid, "SIGKILL");
    await expect.poll(() => warnings).toContain("MCP server was lost");
    await expect.poll(() => host.states()).toEqual({ odd: "ready" });
    expect(value(await callTool(host, "pid", {}, never)).content).not.toBe(String(pid));
    await host.close();
    expect(host.states()).toEqual({ odd: "closed" });
  });
});
