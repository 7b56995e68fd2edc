import { type } from "arktype";

const tools = type("string[]");
const limit = "number.integer >= 0";

/** One agent as `stateplane dev` registers it; its slug is the key it stands under. */
export const agentSettings = type({
  "+": "reject",
  "name?": "string > 0",
  "model?": "string > 0",
  "systemPrompt?": "string",
  "modelParams?": "object",
  "allowedTools?": tools,
  "approvalRequiredTools?": tools,
  "deniedTools?": tools,
  /** In the wire's words. */
  "budget?": {
    "+": "reject",
    "max_input_tokens?": limit,
    "max_output_tokens?": limit,
    "max_total_tokens?": limit,
    "max_tool_calls?": limit,
    "max_wall_time_ms?": limit,
    "max_cost_cents?": limit,
  },
  /** Milliseconds. */
  "approvalExpiresInMs?": "number.integer > 0",
});
