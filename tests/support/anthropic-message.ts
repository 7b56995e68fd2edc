/** As recorded from the messages API. */
export function anthropicMessage(
  content: object[],
  stop_reason: string,
  usage: unknown = claudeUsage,
) {
  return {
    id: "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    type: "message",
    role: "assistant",
    model: "claude-sonnet-4-20250514",
    content,
    stop_reason,
    stop_sequence: null,
    usage,
  };
}
const claudeUsage = {
  input_tokens: 100,
  cache_creation_input_tokens: 200,
  cache_read_input_tokens: 700,
  output_tokens: 50,
  service_tier: "standard",
};
