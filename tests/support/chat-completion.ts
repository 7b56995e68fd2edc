/** As recorded from the chat completions API. */
export function chatCompletion(
  message: object,
  finish_reason: string,
  usage: unknown = openaiUsage,
) {
  return {
    id: "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
    object: "chat.completion",
    created: 1741570283,
    model: "gpt-4o-2024-08-06",
    choices: [
      { index: 0, message: { role: "assistant", refusal: null, ...message }, finish_reason },
    ],
    usage,
    service_tier: "default",
  };
}
const openaiUsage = {
  prompt_tokens: 1000,
  completion_tokens: 50,
  total_tokens: 1050,
  prompt_tokens_details: { cached_tokens: 400, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 20, audio_tokens: 0 },
};
