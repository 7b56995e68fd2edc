import { join } from "node:path";
import type { CallToolResult } from "@modelcontextprotocol/client";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keepAttachments } from "../../actors/handlers/attachments.ts";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
import { readResult } from "../../adapters/mcp/results.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ToolResult } from "../../machines/contracts/ports/tool-host.ts";
import { callTool } from "../support/call-tool.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { npmServer } from "../support/npm-mcp-servers.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { screening } from "../support/screening.ts";
import { value } from "../support/value.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";

const never = new AbortController().signal;
const { hostOf } = useMcpHosts();
const folder = useTemporaryFolder();
const step = { runId: "run_1", stepId: "stp_1" };
const scope = { job: step as unknown as Job, screening };
const store = () => createArtifactFolder({ path: join(folder, "artifacts"), isShared: true });

const text = fc.record({ type: fc.constant("text" as const), text: fc.string() });
const data = fc
  .uint8Array({ maxLength: 4_000 })
  .map((bytes) => Buffer.from(bytes).toString("base64"));
const mimeType = fc.constantFrom("image/png", "audio/x-wav", "text/html; charset=utf-8", "?", "");
const picture = fc.record({ type: fc.constant("image" as const), data, mimeType });
const recording = fc.record({ type: fc.constant("audio" as const), data, mimeType });
const file = fc.record({
  type: fc.constant("resource" as const),
  resource: fc.record({ uri: fc.constant("file:///x"), mimeType, blob: data }),
});
const parts = fc.array(fc.oneof(text, picture, recording, file), { maxLength: 6 });
const results = fc.record(
  { content: parts, structuredContent: fc.dictionary(fc.string(), fc.jsonValue()) },
  { requiredKeys: ["content"] },
);
const bytesOf = (part: CallToolResult["content"][number]): Buffer | null => {
  if (part.type === "image" || part.type === "audio") return Buffer.from(part.data, "base64");
  if (part.type !== "resource" || !("blob" in part.resource)) return null;
  return Buffer.from(part.resource.blob, "base64");
};

describe("what a tool gives beside text", () => {
  test("a picture of the reference server is an artifact, and no record holds its bytes [mcp.attachments]", async () => {
    const server = npmServer("@modelcontextprotocol/server-everything");
    const host = hostOf([{ ...server, name: "everything" }]);
    const result = value(await callTool(host, "get-tiny-image", {}, never));
    const artifacts = store();
    const kept = await keepAttachments(artifacts, scope, result);
    const [about] = kept.artifacts ?? [];
    expect(about).toMatchObject({ mimeType: "image/png", size: expect.any(Number) });
    expect(kept.content).toContainEqual({
      type: "image",
      mimeType: "image/png",
      bytes: about?.["size"],
      artifact: about?.["id"],
    });
    expect(JSON.stringify(kept).length).toBeLessThan(1_000);
    const stored = value(await artifacts.get(step.runId, String(about?.["id"])));
    expect(Buffer.from(stored.content).subarray(1, 4).toString()).toBe("PNG");
  });

  test("every byte of any result is kept once, beside its record and not in it [mcp.attachments]", async () => {
    await fc.assert(
      fc.asyncProperty(results, async (result) => {
        const read: ToolResult = { server: "any", ...readResult(result as CallToolResult) };
        const artifacts = store();
        const kept = await keepAttachments(artifacts, scope, read);
        const given = result.content.flatMap((part) => bytesOf(part) ?? []);
        const stored = await Promise.all(
          (kept.artifacts ?? []).map(async ({ id }) =>
            Buffer.from(value(await artifacts.get(step.runId, String(id))).content),
          ),
        );
        expect(stored).toEqual(given);
        const record = JSON.stringify(kept);
        for (const bytes of given.filter(({ length }) => length > 30)) {
          expect(record).not.toContain(bytes.toString("base64"));
        }
        if (Array.isArray(kept.content) && result.structuredContent === undefined) {
          const described = kept.content as JsonObject[];
          expect(described.filter(({ artifact }) => artifact !== undefined).length).toBe(
            given.length,
          );
        }
      }),
      { numRuns: 60 },
    );
  });

  test("a text beyond its bound is cut in the record and whole in an artifact [mcp.attachments]", async () => {
    const long = "é".repeat(1_200_000);
    const read = readResult({ content: [{ type: "text", text: long }] });
    expect(String(read.content).length).toBeLessThan(1_100_000);
    expect(read.attachments?.map(({ content }) => Buffer.from(content).toString())).toEqual([long]);
  });

  test("what can't be kept is said to be lost, and the result stands [mcp.attachments]", async () => {
    const failing = {
      ...store(),
      put: async () => ({
        ok: false as const,
        failure: { kind: "unavailable" as const, message: "no room", retryable: true },
      }),
    };
    const image = { type: "image" as const, mimeType: "image/png", data: "AAAA" };
    const read = { server: "any", ...readResult({ content: [image] }) };
    expect(await keepAttachments(failing, scope, read)).toMatchObject({
      content: [{ type: "image", notKept: "no room" }],
      artifacts: [{ id: null, problem: "no room" }],
    });
  });
});
