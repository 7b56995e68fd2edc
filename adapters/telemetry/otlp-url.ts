/**
 * Where a signal goes, from the value of `OTEL_EXPORTER_OTLP_ENDPOINT`: a base URL, to which `/v1/traces` or
 * `/v1/metrics` is added (OpenTelemetry specification, protocol exporter, "Endpoint URLs for OTLP/HTTP"). We speak OTLP
 * over HTTP only; FerrumDeck's default is the gRPC port 4317, whose collectors listen for HTTP on 4318, so that is where
 * we go.
 *
 * @returns `note` says what was changed, for the log; null if nothing was
 * @throws TypeError when the endpoint is not an http or https URL; the message never repeats it
 */
export function otlpUrl(
  endpoint: string,
  signal: "traces" | "metrics",
): { url: string; note: string | null } {
  const url = URL.parse(endpoint.trim());
  if (url === null || !/^https?:$/u.test(url.protocol)) {
    throw new TypeError("the OTLP endpoint: expected a URL such as http://localhost:4318");
  }
  const path = url.pathname.replace(/\/+$/u, "").replace(/\/v1\/(?:traces|metrics)$/u, "");
  url.pathname = `${path}/v1/${signal}`;
  if (url.port !== "4317") return { url: url.href, note: null };
  url.port = "4318";
  return {
    url: url.href,
    note: `the OTLP endpoint names port 4317, which is for gRPC; ${signal} go to port 4318 over HTTP`,
  };
}

/** OpenTelemetry's names of samplers. */
export const samplers = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const;
export type SamplerName = (typeof samplers)[number];
