import { type } from "arktype";
import { Hono } from "hono";
import type { JsonObject } from "../../../../machines/contracts/domain/json.ts";
import { callerOf } from "./access.ts";
import { ApiError, objectShape, readBody, readPage, rfc3339 } from "./request.ts";
import { type Tool, newId, seedIds } from "../documents.ts";
import type { Plane } from "../changes/change.ts";

const text = "0 < string <= 255";
export const newTool = type({
  "project_id?": text,
  name: text,
  slug: text,
  "description?": "string | null",
  mcp_server: text,
  risk_level: "'read' | 'write' | 'destructive'",
  input_schema: objectShape,
  "output_schema?": objectShape.or("null"),
});

/** `/v1/registry/tools`: what people have registered, and how hard it is to take back. */
export function toolRoutes({ apply, rows, now }: Plane): Hono {
  const app = new Hono();
  app.get("/", (c) => {
    const project = c.req.query("project_id") ?? seedIds.project;
    return c.json(rows(c).tools.list(project, readPage(c, 50)).map(toolResponse));
  });
  app.get("/:id", (c) => {
    const tool = rows(c).tools.find(c.req.param("id"));
    if (tool === undefined) throw new ApiError(404, `tool ${c.req.param("id")} not found`);
    return c.json(toolResponse(tool));
  });
  app.post("/", async (c) => {
    const body = await readBody(c, newTool);
    const tool: Tool = {
      id: newId("tol", now()),
      tenantId: rows(c).home,
      projectId: body.project_id ?? seedIds.project,
      name: body.name,
      slug: body.slug,
      description: body.description ?? null,
      mcpServer: body.mcp_server,
      riskLevel: body.risk_level,
      inputSchema: body.input_schema as JsonObject,
      outputSchema: (body.output_schema ?? null) as JsonObject | null,
      createdAt: now(),
    };
    await apply((change) => {
      if (change.store.tools.findBySlug(tool.projectId, tool.slug) !== undefined) {
        throw new ApiError(400, `a tool with slug "${tool.slug}" exists already`);
      }
      change.store.tools.put(tool);
      change.audit(null, "tool.registered", { tool_id: tool.id, slug: tool.slug });
    }, callerOf(c));
    return c.json(toolResponse(tool), 201);
  });
  return app;
}

/** `/v1/registry/mcp-servers`: the servers of the registered tools. */
export function serverRoutes({ rows }: Plane): Hono {
  const app = new Hono();
  app.get("/", (c) => {
    const servers = new Map<string, string[]>();
    const project = c.req.query("project_id") ?? seedIds.project;
    for (const { mcpServer, slug } of rows(c).tools.list(project, { limit: -1, offset: 0 })) {
      servers.set(mcpServer, [...(servers.get(mcpServer) ?? []), slug]);
    }
    return c.json([...servers].map(([name, tools]) => ({ name, tools })));
  });
  return app;
}

const toolResponse = (tool: Tool) => ({
  id: tool.id,
  project_id: tool.projectId,
  name: tool.name,
  slug: tool.slug,
  description: tool.description,
  mcp_server: tool.mcpServer,
  status: "active",
  risk_level: tool.riskLevel,
  input_schema: tool.inputSchema,
  output_schema: tool.outputSchema,
  created_at: rfc3339(tool.createdAt),
});
