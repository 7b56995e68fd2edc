import type { GatewayAnswer, SeenRequest } from "../support/ferrumdeck-gateway.ts";

const html = "<html><body>Service</body></html>";
const page = (status: number, headers: Record<string, string> = {}): GatewayAnswer => ({
  status,
  headers,
  body: null,
  text: html,
});

/** What a proxy says in the gateway's place: before the call reached it, or after it has acted. */
const misanswers: readonly GatewayAnswer[] = [
  page(200),
  { status: 204, body: null, text: "" },
  page(302, { location: "/login" }),
  page(404),
  page(403),
  page(413),
  page(502),
  page(503, { "retry-after": "1" }),
  { status: 200, body: { status: "ok" } },
  { status: 200, body: [] },
  { status: 500, body: { error: { code: "INTERNAL_ERROR", message: "Database error" } } },
  {
    status: 429,
    headers: { "retry-after": "1" },
    body: { error: { code: "RATE_LIMIT_EXCEEDED", message: "slow down", retry_after: 1 } },
  },
  { status: 0, body: null, lost: "broken" },
];

/** A proxy that misanswers some of the calls, one way or the other. */
export function misanswering(draw: () => number, share: number) {
  const pick = () => misanswers[Math.floor(draw() * misanswers.length)];
  const counts = { before: 0, after: 0 };
  return {
    counts,
    failing: (_: SeenRequest): GatewayAnswer | undefined => {
      if (draw() >= share) return undefined;
      counts.before += 1;
      return pick();
    },
    altering: (_: SeenRequest, __: GatewayAnswer): GatewayAnswer | undefined => {
      if (draw() >= share / 2) return undefined;
      counts.after += 1;
      return pick();
    },
  };
}
