import type { CallToolResult } from "@modelcontextprotocol/sdk/types.js";
import type { Json, JsonObject } from "../../machines/contracts/json.ts";

/** Characters of one text that are kept: a result is journalled, and read by a model. */
const textLimit = 1_048_576;

type Part = CallToolResult["content"][number];

/**
 * What a tool gave, as JSON of a bounded size: its structured content where there is some; else its texts
 * joined by newlines; else, where there is more than text, one small object a part, binary data by its size.
 */
export function readResult(result: CallToolResult): Json {
  if (result.structuredContent !== undefined) return result.structuredContent as JsonObject;
  if (result.content.every((part) => part.type === "text")) return readText(result);
  return result.content.map(describePart);
}

/** The texts of a result, joined by newlines. */
export function readText(result: CallToolResult): string {
  return bounded(
    result.content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n"),
  );
}

function describePart(part: Part): JsonObject {
  switch (part.type) {
    case "text":
      return { type: "text", text: bounded(part.text) };
    case "image":
    case "audio":
      return { type: part.type, mimeType: part.mimeType, bytes: decodedSize(part.data) };
    case "resource_link":
      return { type: "resource_link", uri: part.uri, name: part.name, ...mimeTypeOf(part) };
    case "resource": {
      const { resource } = part;
      const body =
        "text" in resource
          ? { bytes: Buffer.byteLength(resource.text), text: bounded(resource.text) }
          : { bytes: decodedSize(resource.blob) };
      return { type: "resource", uri: resource.uri, ...mimeTypeOf(resource), ...body };
    }
  }
}

function mimeTypeOf(part: { mimeType?: string | undefined }): { mimeType?: string } {
  return part.mimeType === undefined ? {} : { mimeType: part.mimeType };
}

function decodedSize(base64: string): number {
  return Buffer.byteLength(base64, "base64");
}

function bounded(text: string): string {
  if (text.length <= textLimit) return text;
  return `${text.slice(0, textLimit)}\n[cut off: ${text.length} characters in all]`;
}
