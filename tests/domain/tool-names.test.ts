import type { Tool } from "@modelcontextprotocol/sdk/types.js";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findTool, isShadowed, type ToolSource } from "../../adapters/mcp/catalog.ts";
import { localVerdict, spelledVerdict } from "../../actors/step/verdicts.ts";
import { decideTool } from "../../adapters/control-plane/embedded/changes/check-tool.ts";

const never = new AbortController().signal;

/** Few words, many dots: so that names run into each other in every way. */
const dotted = fc
  .array(fc.constantFrom("a", "b", "read"), { minLength: 1, maxLength: 3 })
  .map((words) => words.join("."));
const sources = fc.dictionary(dotted, fc.uniqueArray(dotted, { maxLength: 4 }), {
  minKeys: 1,
  maxKeys: 4,
});
const lists = fc.uniqueArray(
  fc
    .array(fc.constantFrom("a", "b", "read"), { minLength: 1, maxLength: 5 })
    .map((w) => w.join(".")),
  { maxLength: 4 },
);

const toSources = (world: Record<string, string[]>): ToolSource[] =>
  Object.entries(world).map(([name, tools]) => ({
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
const spellings = (world: Record<string, string[]>): string[] => [
  ...new Set(
    Object.entries(world).flatMap(([server, tools]) =>
      tools.flatMap((tool) => [tool, `${server}.${tool}`, `${server}.${server}.${tool}`]),
    ),
  ),
];

describe("a tool's name, with dots wherever MCP and people put them", () => {
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
          const pair = { server: server.name, name: tool.name };
          if (localVerdict(pair, allowlist, null).kind !== "allow") continue;
          ran += 1;
          const both = [tool.name, `${server.name}.${tool.name}`];
          expect(denied.filter((entry) => both.includes(entry))).toEqual([]);
          expect(allowed.some((entry) => both.includes(entry))).toBe(true);
          // An entry that begins with a configured server's name speaks of that server's tools alone.
          const spoken = allowed.filter((entry) => both.includes(entry));
          for (const entry of spoken) {
            const named = Object.keys(world).filter((name) => entry.startsWith(`${name}.`));
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
          const pair = { server: found.value.server.name, name: found.value.tool.name };
          expect(localVerdict(pair, allowlist, null).kind).toBe("deny");
        }
      }),
      { numRuns: 500 },
    );
  });

  it("every tool that is not left out is reached by server.tool, and by that alone it is never another", async () => {
    await fc.assert(
      fc.asyncProperty(sources, async (world) => {
        const servers = toSources(world);
        for (const [server, tools] of Object.entries(world)) {
          for (const tool of tools) {
            if (isShadowed(servers, server, tool)) continue;
            const found = await findTool(servers, `${server}.${tool}`, never);
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
});
