import { type } from "arktype";

/** An agent as `GET /v1/registry/agents` lists it (wire contract 1.3), extra keys passed over. */
export const agentView = type({
  id: "string",
  slug: "string",
  name: "string",
  "description?": "string | null",
  "status?": "string",
  "latest_version?": type({
    id: "string",
    version: "string",
    "model?": "string | null",
    "allowed_tools?": "string[] | null",
  }).or("null"),
});
export type AgentView = typeof agentView.infer;
