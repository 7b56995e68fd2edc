import {
  type Client,
  specTypeSchemas,
  type StandardSchemaV1,
  type Tool,
} from "@modelcontextprotocol/client";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { noTimeout } from "./connect.ts";

/** The SDK's own schema of a page fails the whole page for one tool that it can't read. */
const anyResult: StandardSchemaV1<unknown, Record<string, unknown>> = {
  "~standard": {
    version: 1,
    vendor: "stateplane",
    validate: (value) => ({ value: value as Record<string, unknown> }),
  },
};

/** What one server may list. The largest that is known has some hundreds of tools. */
const most = { pages: 200, tools: 5_000, characters: 16 * 1024 * 1024 };

/**
 * All tools of a server, page by page and within bounds, the first of any name that is given twice. Not the SDK's
 * `listTools`: that forgets the output schemas of earlier pages, and one tool that can't be read fails the whole
 * list. Here such a tool is left out, and `leftOut` is told its name and what is wrong with it.
 *
 * @throws the SDK's errors, and the signal's reason
 */
export async function readTools(
  client: Client,
  signal: AbortSignal,
  leftOut: (tool: string, problem: string) => void,
): Promise<Map<string, Tool>> {
  const tools = new Map<string, Tool>();
  if (client.getServerCapabilities()?.tools === undefined) return tools;
  const seen = new Set<string>();
  let characters = 0;
  let cursor: string | undefined;
  for (let pages = 1; ; pages += 1) {
    const page = await client.request(
      { method: "tools/list", params: cursor === undefined ? {} : { cursor } },
      anyResult,
      { signal, timeout: noTimeout },
    );
    const { tools: listed, nextCursor } = page as { tools?: unknown; nextCursor?: unknown };
    if (!Array.isArray(listed)) throw new Error("tools/list gave no list of tools");
    characters += JSON.stringify(listed).length;
    for (const item of listed) {
      const read = specTypeSchemas.Tool["~standard"].validate(item);
      if (read.issues === undefined) {
        if (!tools.has(read.value.name)) tools.set(read.value.name, read.value);
      } else {
        const [issue] = read.issues;
        const { name, unreadable } = (item ?? {}) as { name?: unknown; unreadable?: unknown };
        const misshapen = `${issue?.path?.map(String).join(".") ?? ""}: ${issue?.message ?? "can't be read"}`;
        const problem = typeof unreadable === "string" ? unreadable : misshapen;
        leftOut(typeof name === "string" ? cutText(name, 200) : "a tool without a name", problem);
      }
    }
    if (tools.size > most.tools) throw new Error(`tools/list has more than ${most.tools} tools`);
    if (characters > most.characters) {
      throw new Error(`tools/list is longer than ${most.characters} characters`);
    }
    if (typeof nextCursor !== "string") return tools;
    if (seen.has(nextCursor)) throw new Error("tools/list goes in a circle");
    if (pages >= most.pages) throw new Error(`tools/list has more than ${most.pages} pages`);
    seen.add(nextCursor);
    cursor = nextCursor;
  }
}
