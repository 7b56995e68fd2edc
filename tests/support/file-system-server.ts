import { fileURLToPath } from "node:url";
import type { McpServer } from "../../adapters/mcp/config.ts";

const program = fileURLToPath(
  new URL(
    "../../node_modules/@modelcontextprotocol/server-filesystem/dist/index.js",
    import.meta.url,
  ),
);

/** FerrumDeck MCP server of files, over one folder. */
export const fileSystemServer = (folder: string): McpServer => ({
  name: "files",
  command: process.execPath,
  args: [program, folder],
});
