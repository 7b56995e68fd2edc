const shape = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;

/**
 * Trace and span of a W3C `traceparent` header (Trace Context level 1, 3.2): version 00 as written, later
 * versions by their first four fields. Anything else counts as no header.
 */
export function readTraceparent(
  header: string | undefined,
): { traceId: string; spanId: string } | null {
  const [, version, traceId, spanId, more] = shape.exec(header?.trim() ?? "") ?? [];
  if (version === undefined || traceId === undefined || spanId === undefined) return null;
  if (version === "ff" || (version === "00" && more !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null;
  return { traceId, spanId };
}
