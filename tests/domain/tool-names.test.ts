import type { Tool } from "@modelcontextprotocol/client";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  disabledSource,
  findTool,
  isShadowed,
  listTools,
  type ToolSource,
} from "../../adapters/mcp/catalog.ts";
import { localVerdict, spelledVerdict } from "../../actors/step/verdicts.ts";
import { decideTool } from "../../adapters/control-plane/embedded/changes/check-tool.ts";

const never = new AbortController().signal;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Few words, many slashes and dots: so that names run into each other in every way. */
const words = (maxLength: number) =>
  fc
    .array(fc.tuple(fc.constantFrom("a", "b", "read"), fc.constantFrom("/", "/", ".")), {
      minLength: 1,
      maxLength,
    })
    .map((parts) => parts.flat().slice(0, -1).join(""));
/** Or whatever characters a server may choose. */
const anyName = fc.oneof(
  { weight: 4, arbitrary: words(3) },
  { weight: 1, arbitrary: fc.string({ minLength: 1, maxLength: 6, unit: "grapheme" }) },
  {
    weight: 1,
    arbitrary: fc.string({ minLength: 1, unit: fc.constantFrom("/", ".", "*", "a", " ") }),
  },
);
const sources = fc
  .uniqueArray(fc.tuple(anyName, fc.uniqueArray(anyName, { maxLength: 4 })), {
    minLength: 1,
    maxLength: 4,
    selector: ([name]) => name,
  })
  .map((entries) => new Map(entries));
const lists = fc.uniqueArray(words(5), { maxLength: 4 });

type World = ReadonlyMap<string, readonly string[]>;

const toSources = (world: World): ToolSource[] =>
  [...world].map(([name, tools]) => ({
    name,
    down: false,
    lastTools: new Set(tools),
    tools: async () => ({
      ok: true,
      value: new Map(
        tools.map((tool) => [tool, { name: tool, inputSchema: { type: "object" } } as Tool]),
      ),
    }),
  }));

/** Every spelling that anybody could try. */
const spellings = (world: World): string[] => [
  ...new Set(
    [...world].flatMap(([server, tools]) =>
      tools.flatMap((tool) => [tool, `${server}/${tool}`, `${server}/${server}/${tool}`]),
    ),
  ),
];

describe("a server that is disabled", () => {
  it("is still the one that its name speaks of: no tool of another passes for one of its own [policy.resolved]", async () => {
    await fc.assert(
      fc.asyncProperty(sources, words(2), lists, async (world, off, allowed) => {
        const servers = [
          ...toSources(world).filter(({ name }) => name !== off),
          disabledSource(off),
        ];
        const mine = allowed.map((entry) => `${off}/${entry}`);
        const listed = await listTools(servers, silent, never);
        if (!listed.ok) throw new Error(listed.failure.message);
        for (const { address, server, name } of listed.value) {
          for (const spelled of [address, name, `${server}/${name}`, `${off}/${name}`]) {
            const found = await findTool(servers, spelled, never);
            if (!found.ok) continue;
            const pair = {
              server: found.value.server.name,
              name: found.value.tool.name,
              input: {},
            };
            const allowlist = { allowed: mine, approvalRequired: [], denied: [] };
            const isLonger = pair.server.startsWith(`${off}/`);
            if (!isLonger) expect(localVerdict(pair, allowlist, null).kind).toBe("deny");
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("a tool's name, with whatever characters MCP and people put in it", () => {
  it("means one tool or none: a denied one never runs by any spelling, an allowed entry lets no other through [policy.resolved]", async () => {
    let ran = 0;
    await fc.assert(
      fc.asyncProperty(sources, lists, lists, async (world, allowed, denied) => {
        const servers = toSources(world);
        const allowlist = { allowed, approvalRequired: [], denied };
        for (const spelled of spellings(world)) {
          if (spelledVerdict(spelled, allowlist, null) !== null) continue;
          const found = await findTool(servers, spelled, never);
          if (!found.ok) continue;
          const { server, tool } = found.value;
          const pair = { server: server.name, name: tool.name, input: {} };
          if (localVerdict(pair, allowlist, null).kind !== "allow") continue;
          ran += 1;
          const both = [tool.name, `${server.name}/${tool.name}`];
          expect(denied.filter((entry) => both.includes(entry))).toEqual([]);
          expect(allowed.some((entry) => both.includes(entry))).toBe(true);
          // An entry that begins with a configured server's name speaks of that server's tools alone.
          const spoken = allowed.filter((entry) => both.includes(entry));
          for (const entry of spoken) {
            const named = [...world.keys()].filter((name) => entry.startsWith(`${name}/`));
            if (named.length > 0) expect(named).toContain(server.name);
          }
          // The embedded control plane judges the pair as the worker does.
          const plane = { allowedTools: allowed, approvalRequiredTools: [], deniedTools: denied };
          expect(decideTool(plane, pair).kind).toBe("allow");
        }
      }),
      { numRuns: 500 },
    );
    expect(ran).toBeGreaterThan(50);
  });

  it("the denial by spelling alone is never wrong: no resolution would have let it through", async () => {
    await fc.assert(
      fc.asyncProperty(sources, lists, lists, lists, async (world, allowed, asked, denied) => {
        const allowlist = { allowed, approvalRequired: asked, denied };
        for (const spelled of spellings(world)) {
          if (spelledVerdict(spelled, allowlist, null) === null) continue;
          const found = await findTool(toSources(world), spelled, never);
          if (!found.ok) continue;
          const { server, tool } = found.value;
          const pair = { server: server.name, name: tool.name, input: {} };
          expect(localVerdict(pair, allowlist, null).kind).toBe("deny");
        }
      }),
      { numRuns: 500 },
    );
  });

  it("every tool that is not left out is reached by server/tool, and by that alone it is never another", async () => {
    await fc.assert(
      fc.asyncProperty(sources, async (world) => {
        const servers = toSources(world);
        for (const [server, tools] of world) {
          for (const tool of tools) {
            if (isShadowed(servers, server, tool)) continue;
            const found = await findTool(servers, `${server}/${tool}`, never);
            expect(found.ok && [found.value.server.name, found.value.tool.name]).toEqual([
              server,
              tool,
            ]);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it("every listed tool has an address of its own, which is resolved to it and to no other [policy.resolved]", async () => {
    await fc.assert(
      fc.asyncProperty(sources, async (world) => {
        const servers = toSources(world);
        const listed = await listTools(servers, silent, never);
        if (!listed.ok) throw new Error(listed.failure.message);
        const addresses = listed.value.map(({ address }) => address);
        expect(new Set(addresses).size).toBe(addresses.length);
        for (const { address, server, name } of listed.value) {
          const found = await findTool(servers, address, never);
          expect(found.ok && [found.value.server.name, found.value.tool.name]).toEqual([
            server,
            name,
          ]);
        }
        const open = [...world].flatMap(([server, tools]) =>
          tools.filter((tool) => !isShadowed(servers, server, tool)),
        );
        expect(addresses).toHaveLength(open.length);
      }),
      { numRuns: 500 },
    );
  });
});
