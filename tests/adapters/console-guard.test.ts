import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lasted, stepWord, toneOf } from "../../adapters/console/page/parts.ts";
import { endedStatuses, statuses } from "../../adapters/console/page/runs.ts";
import { isRunEnded, runStatuses } from "../../machines/contracts/domain/status.ts";
import { createConsole } from "../../adapters/console/serve.ts";
import { ownOrigin } from "../../adapters/control-plane/embedded/routes/origin.ts";
import { Hono } from "hono";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";

let plane: TestPlane;
beforeAll(async () => {
  plane = await startTestPlane({ site: createConsole({ machines: { step: { id: "step" } } }) });
});
afterAll(() => plane.close());

/** A request as it is on the wire, which `fetch` would not send so. */
function send(path: string, headers: Record<string, string>, method = "GET") {
  return new Promise<{ status: number; text: string; headers: Record<string, unknown> }>(
    (resolve, reject) => {
      const call = request(
        { host: "127.0.0.1", port: plane.port, path, method, headers },
        (answer) => {
          let text = "";
          answer.setEncoding("utf8");
          answer.on("data", (part: string) => (text += part));
          answer.on("end", () =>
            resolve({ status: answer.statusCode ?? 0, text, headers: answer.headers }),
          );
        },
      );
      call.on("error", reject);
      call.end();
    },
  );
}

const key = { authorization: "Bearer test-key" };

describe("whose pages may call the control plane", () => {
  const here = () => `127.0.0.1:${plane.port}`;

  it("refuses other origins and other hosts, on the page and the API alike [console.origin]", async () => {
    const refused: Record<string, string>[] = [
      { host: "evil.example" },
      { host: `evil.example:${plane.port}` },
      { host: "127.0.0.1.evil.example" },
      { host: "localhost.evil.example" },
      { host: "10.0.0.1" },
      { host: here(), origin: "https://evil.example" },
      { host: here(), origin: "null" },
      { host: here(), origin: "file://" },
      { host: here(), origin: "http://127.0.0.1:1" },
      { host: here(), origin: `http://localhost:${plane.port}` },
      { host: here(), "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors" },
      { host: here(), "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" },
    ];
    for (const headers of refused) {
      for (const path of ["/", "/console/style.css", "/v1/runs", "/health"]) {
        const { status, text } = await send(path, { ...key, ...headers });
        expect.soft(status, `${path} ${JSON.stringify(headers)}`).toBe(403);
        expect.soft(JSON.parse(text)).toEqual({
          error: { code: "FORBIDDEN", message: expect.stringMatching(/Host|Origin|another site/) },
        });
      }
    }
  });

  it("lets in its own page, programs, and whoever follows a link to it", async () => {
    const allowed: Record<string, string>[] = [
      { host: here() },
      { host: `localhost:${plane.port}` },
      { host: `LOCALHOST:${plane.port}`, origin: `http://localhost:${plane.port}` },
      { host: `[::1]:${plane.port}` },
      { host: here(), origin: `http://${here()}`, "sec-fetch-site": "same-origin" },
      { host: here(), "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" },
    ];
    for (const headers of allowed) {
      for (const path of ["/", "/v1/runs"]) {
        const { status } = await send(path, { ...key, ...headers });
        expect.soft(status, `${path} ${JSON.stringify(headers)}`).toBe(200);
      }
    }
  });

  it("takes any name where it is served to others, and still no other origin", async () => {
    const app = new Hono();
    app.use(ownOrigin("0.0.0.0", null));
    app.get("/", (c) => c.text("here"));
    app.onError((error, c) => c.text(error.message, 403));
    const status = async (headers: Record<string, string>) =>
      (await app.request("http://plane.internal/", { headers })).status;
    expect(await status({ host: "plane.internal" })).toBe(200);
    expect(await status({ host: "plane.internal", origin: "https://plane.internal" })).toBe(200);
    expect(await status({ host: "plane.internal", origin: "https://evil.example" })).toBe(403);
  });
});

it("takes the name of its public address, whether a proxy keeps it or not", async () => {
  const app = new Hono();
  app.use(ownOrigin("127.0.0.1", "https://plane.example/"));
  app.get("/", (c) => c.text("here"));
  app.onError((error, c) => c.text(error.message, 403));
  const status = async (headers: Record<string, string>) =>
    (await app.request("http://plane.example/", { headers })).status;
  expect(await status({ host: "plane.example", origin: "https://plane.example" })).toBe(200);
  expect(await status({ host: "127.0.0.1:8080", origin: "https://plane.example" })).toBe(200);
  expect(await status({ host: "other.example" })).toBe(403);
});

describe("what the console serves", () => {
  it("lets nothing run but its own files, and is framed by nobody [console.closed]", async () => {
    const { status, headers, text } = await send("/", {});
    expect(status).toBe(200);
    expect(headers["content-security-policy"]).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self'; .*frame-ancestors 'none'/,
    );
    expect(String(headers["content-security-policy"])).not.toMatch(/unsafe|\*|data:|https?:/);
    expect(headers["x-frame-options"]).toBe("DENY");
    expect(headers["referrer-policy"]).toBe("no-referrer");
    expect(text).not.toMatch(/<script(?![^>]* src=)|<style| on\w+=/);
  });

  it("knows every status of a run, and no other [console.statuses]", () => {
    expect(new Set(statuses)).toEqual(new Set(runStatuses));
    const ended = runStatuses.filter((status) => isRunEnded(status));
    expect(new Set(endedStatuses)).toEqual(new Set(ended));
    expect(ended.map((status) => [status, toneOf(status)])).not.toContainEqual([
      expect.stringMatching(/blocked|failed|timeout|killed/u),
      "idle",
    ]);
  });

  it("serves every module that the page imports, and whatever those import", async () => {
    const [first = ""] = /\/console\/page\/main\.\w+/.exec((await send("/", {})).text) ?? [];
    const known = new Set<string>();
    const look = async (path: string): Promise<void> => {
      if (known.has(path)) return;
      known.add(path);
      const { status, headers, text } = await send(path, {});
      expect.soft(status, path).toBe(200);
      expect.soft(headers["content-type"], path).toMatch(/^text\/javascript/);
      const named = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["']([\w@./-]+)["']/g);
      for (const [, specifier = ""] of named) {
        const isAddress = /^(?:\.{0,2}\/)/.test(specifier);
        expect.soft(isAddress, `${path} imports ${specifier}`).toBe(true);
        if (isAddress) await look(new URL(specifier, `http://here${path}`).pathname);
      }
    };
    await look(first);
    expect(known.size).toBeGreaterThan(20);
  });

  it("answers HEAD of what it streams, and is done with it [console.closed]", async () => {
    for (const path of ["/v1/events", "/v1/events/runs", "/v1/backup"]) {
      expect((await send(path, key, "HEAD")).status, path).toBe(204);
    }
  });

  it("serves no other file [console.files]", async () => {
    for (const path of [
      "/console/page/../serve.ts",
      "/console/page/..%2fserve.ts",
      "/console/page/%2e%2e/serve.ts",
      "/console/page/nothing.ts",
      "/console/modules/preact/package.json",
      "/console/modules/preact//dist/preact.module.js",
      "/console/modules/preact/./dist/preact.module.js",
      "/console/modules/preact/../xstate/dist/xstate.cjs.js",
      "/console/modules/preact/..%2f..%2fpackage.json",
      "/console/modules/xstate/dist/xstate.esm.js",
      "/console/modules/@dagrejs/dagre/../../../package.json",
      "/console/machines/constructor.json",
      "/console/machines/nothing.json",
      "/console/",
    ]) {
      expect.soft((await send(path, {})).status, path).toBe(404);
    }
    expect((await send("/", {}, "POST")).status).toBe(404);
    expect(JSON.parse((await send("/console/machines/step.json", {})).text)).toEqual({
      id: "step",
    });
  });
});

it("the console says of what took no time that could be measured that it did, and what was cut short", () => {
  const at = "2026-11-26T18:00:00.000Z";
  expect(lasted(at, at)).toBe("under 1 ms");
  expect(lasted(null, at)).toBe("");
  expect(lasted(at, "2026-11-26T18:00:00.012Z")).toBe("12 ms");
  expect(stepWord({ status: "skipped", error: { kind: "cancelled" } })).toBe("cancelled");
  expect(stepWord({ status: "skipped", error: null })).toBe("skipped");
});
