import { isIP } from "node:net";
import type { MiddlewareHandler } from "hono";
import { cutText } from "../../../../machines/contracts/domain/text.ts";
import { ApiError } from "./request.ts";

/**
 * Refuses what a page of somebody else has a browser send: a request that names another origin than this one, and, where
 * we listen on this machine alone, one for a host that is not this machine. The second is what a page sends whose name
 * was made to point here after it was loaded (DNS rebinding). Programs send no origin, and are none the wiser.
 *
 * @param listensOn the address that we listen on
 * @param publicUrl under which people reach us, through a proxy perhaps; null for none
 */
export function ownOrigin(listensOn: string, publicUrl: string | null): MiddlewareHandler {
  const outside = publicUrl === null ? null : hostOf(publicUrl);
  const isLocal = isLoopback(listensOn);
  return async (c, next) => {
    const host = c.req.header("host") ?? "";
    if (isLocal && !isLoopback(nameOf(host)) && host.toLowerCase() !== outside) {
      const hint =
        "expected localhost, 127.0.0.1 or [::1]; to be reached by another name, set STATEPLANE_PUBLIC_URL or listen on";
      throw new ApiError(403, `Host: ${quoted(host)} is not this machine: ${hint} another address`);
    }
    const origin = c.req.header("origin");
    if (origin !== undefined && ![host.toLowerCase(), outside].includes(hostOf(origin) ?? "")) {
      throw new ApiError(
        403,
        `Origin: a page of ${quoted(origin)} may not call this control plane`,
      );
    }
    if (
      c.req.header("sec-fetch-site") === "cross-site" &&
      c.req.header("sec-fetch-mode") !== "navigate"
    ) {
      throw new ApiError(403, "a page of another site may not call this control plane");
    }
    // Before the answer is there: afterwards the whole of it would be made anew.
    c.header("x-content-type-options", "nosniff");
    await next();
    if (!c.res.headers.has("x-content-type-options")) c.header("x-content-type-options", "nosniff");
  };
}

const quoted = (text: string) => JSON.stringify(cutText(text, 100));

/** Without the port, and an IPv6 address without its brackets. */
const nameOf = (host: string): string =>
  host
    .toLowerCase()
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1");

function isLoopback(name: string): boolean {
  if (name === "localhost" || name.endsWith(".localhost") || name === "::1") return true;
  return isIP(name) === 4 && name.startsWith("127.");
}

/** Of an origin, host and port as a Host header has them; null for none, such as `null`. */
function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
}
