import { Writable } from "node:stream";
import { expect, it } from "vitest";
import { createFunctionHost } from "../../adapters/functions/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { createLog } from "../../adapters/telemetry/log.ts";
import { defineTool } from "../../cli/library.ts";

const boom = (): never => {
  throw new Error("from inside");
};
const odd: Record<string, () => unknown> = {
  "a message that throws": () =>
    Object.defineProperty(new Error("m"), "message", { get: boom, configurable: true }),
  "a stack that throws": () => Object.defineProperty(new Error("m"), "stack", { get: boom }),
  "a proxy that refuses": () => new Proxy(new Error("x"), { get: boom, getPrototypeOf: boom }),
  "a revoked proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  "an error that causes itself": () => Object.assign(new Error("m"), { cause: null }),
  nothing: () => undefined,
};

it.each(Object.entries(odd))(
  "a tool that throws %s fails in words that name it, and is logged [library.users-code]",
  async (_, thrown) => {
    let logged = "";
    const destination = new Writable({
      write: (chunk, _encoding, done) => {
        logged += String(chunk);
        done();
      },
    });
    const log = createLog({ level: "info", name: "test", destination });
    const run = () => {
      throw thrown();
    };
    const tool = defineTool({ name: "lose", description: "x", input: { type: "object" }, run });
    const host = createFunctionHost({ tools: [tool], schemas: createSchemaChecker(), log });
    const described = await host.describe("lose", new AbortController().signal);
    if (!described.ok) throw new Error("no tool");
    const called = await host.call(described.value, {}, new AbortController().signal);
    expect(called).toMatchObject({
      ok: false,
      failure: { kind: "tool_failed", message: expect.stringMatching(/"?lose"? threw/u) },
    });
    expect(logged).toContain("a function threw");
  },
);
