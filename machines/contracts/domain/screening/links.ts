import { cutText } from "../text.ts";
import { LinkReader, linkAnchors, type Target } from "./link-places.ts";
import { type Form, type Found, matchAt, noSpans, type Span } from "./spans.ts";

/*
 * Links that act when a text is shown, and links that carry something away. Whoever shows a step's output (a page, a chat)
 * may load an image without being asked: an image at somebody's server, with what was read in its address, is how texts
 * are stolen through a model. And an address that is code runs where it is followed.
 *
 * Addresses are read as browsers read them (WHATWG URL): blanks and controls in a scheme, backslashes, a host in any
 * writing. Where they stand in a text: see link-places.ts.
 */

/** Addresses that are code, or a document of their own. An image as data is neither. */
const active =
  /(?:javascript|vbscript)\s{0,8}:(?=[^\s"'<>])|data\s{0,8}:\s{0,8}(?:text\/(?:html|xml|javascript)|application\/(?:xhtml\+xml|xml|javascript|x-javascript)|image\/svg\+xml)[;,]/iuy;

/** Where such an address is followed: as a link's target, or as an attribute's value. */
const opens = /(?:\]\(\s{0,8}<?|["'=]\s{0,8}|<|\]:\s{0,8})$/u;

/** As it is usually written, in a program too. */
const plainActive: Form = {
  kind: "active-link",
  anchors: ["javascript", "vbscript", "data:"],
  find(text, at) {
    const isAlone = at === 0 && /^\w+:\S/u.test(cutText(text, 14));
    if (!isAlone && !opens.test(text.slice(Math.max(0, at - 12), at))) return null;
    const match = matchAt(active, text, at);
    if (match === null) return null;
    const end = at + match[0].length;
    return { span: { start: at, end }, next: end };
  },
};

export interface LinkRule {
  /** Hosts that texts may link to: `example.com`, or `*.example.com` for what is below it. */
  hosts: readonly string[];
  isOn(kind: "active-link" | "foreign-link"): boolean;
}

/**
 * Links that are code, and links to hosts that are not allowed. Without a list of hosts, only what is loaded unasked and
 * has room for something in its address is one of these: an image whose address has a query or a path of some length.
 */
export function linkForms({ hosts, isOn }: LinkRule): Form[] {
  const [wantsActive, wantsForeign] = [isOn("active-link"), isOn("foreign-link")];
  if (!wantsActive && !wantsForeign) return [];
  const kindOf = (target: Target, text: string): Span["kind"] | null => {
    const read = readAddress(target);
    if (read.isActive) {
      if (!wantsActive) return null;
      const at = target.start + (/^\s*/u.exec(text.slice(target.start))?.[0].length ?? 0);
      return startsPlainly.test(text.slice(at, at + 11)) && plainActive.find(text, at)?.span != null
        ? null
        : "active-link";
    }
    if (!wantsForeign || target.use === "set") return null;
    return isForeign(read.remote, target.use, hosts) ? "foreign-link" : null;
  };
  const all: Form = {
    kind: "link",
    anchors: linkAnchors,
    find: () => null,
    fresh() {
      let reader: LinkReader | null = null;
      let found: Span[] = [];
      const starts = new Set<number>();
      return (text, at): Found => {
        found = [];
        reader ??= new LinkReader(text, (target) => {
          if (starts.has(target.start)) return;
          const kind = kindOf(target, text);
          if (kind === null) return;
          starts.add(target.start);
          found.push({ start: target.start, end: target.end, kind });
        });
        reader.readAt(at);
        return { span: found, next: at + 1 };
      };
    },
  };
  return wantsActive ? [plainActive, all] : [all];
}

/** A text that is nothing but an address, a field of a tool's result, in another spelling than the usual one. */
export function activeText(text: string): readonly Span[] {
  if (text.length > longestRead || !text.includes(":")) return noSpans;
  if (!/^[\s\p{Cc}]*[jvd]/iu.test(text)) return noSpans;
  if (/:\s/u.test(text) || startsPlainly.test(text)) return noSpans;
  const target: Target = { start: 0, end: text.length, address: text, use: "asked" };
  return readAddress(target).isActive
    ? [{ start: 0, end: text.length, kind: "active-link" }]
    : noSpans;
}

const startsPlainly = /^(?:javascript|vbscript|data\s*:)/iu;

/** Some host's, by a scheme that the page has and one that it has not: `https:a.example` is a name below one of them. */
const pages = ["https://page.invalid/", "http://page.invalid/"] as const;
const onPage = "page.invalid";

interface ReadAddress {
  isActive: boolean;
  /** `page`: of the text's own host. Null: to a host, and it can't be said which. */
  remote: URL | "page" | null;
}

const documents =
  /^\s*(?:text\/(?:html|xml|javascript|xsl)|application\/(?:x-)?(?:javascript|ecmascript|xml)|[\w.-]+\/[\w.-]+\+xml)\s*[;,]/iu;
const withHosts = new Set(["http:", "https:", "ftp:", "ws:", "wss:"]);

/** Of an address, so much is read; what is longer has its host in it, or hides it. */
const longestRead = 4_096;

function readAddress({ address, isCut = false }: Target): ReadAddress {
  const head = isCut || address.length > longestRead ? headOf(address) : address;
  // Nobody writes so much before a host who has nothing to hide.
  if (head === null && isCut) return { isActive: /[&\\]/u.test(address), remote: null };
  const given = head ?? address;
  const read = URL.parse(given, pages[0]);
  if (read === null) return { isActive: false, remote: null };
  const { protocol, pathname } = read;
  if (protocol === "javascript:" || protocol === "vbscript:") {
    return { isActive: /\S/u.test(pathname + read.search + read.hash), remote: "page" };
  }
  if (protocol === "data:") return { isActive: documents.test(pathname), remote: "page" };
  if (!withHosts.has(protocol)) return { isActive: false, remote: "page" };
  if (read.hostname !== onPage) return { isActive: false, remote: read };
  const other = /^[\s\p{Cc}]*[a-z]/iu.test(given) && given.includes(":");
  const again = other ? URL.parse(given, pages[1]) : read;
  return {
    isActive: false,
    remote: again === null ? null : again.hostname === onPage ? "page" : again,
  };
}

/** Its beginning, where that says what it is; null where it does not. */
function headOf(address: string): string | null {
  const head = cutText(address, longestRead);
  const seen = head.replaceAll(/[\t\n\r]/gu, "").replace(/^[\s\p{Cc}]+/u, "");
  return /^(?:[a-z][a-z\d+.-]*:)?[/\\]*[^/\\]+[/\\?#;,]/iu.test(seen) ? head : null;
}

function isForeign(
  remote: ReadAddress["remote"],
  use: Target["use"],
  hosts: readonly string[],
): boolean {
  if (remote === "page") return false;
  if (remote === null) return hosts.length > 0 || use !== "asked";
  if (isAllowedHost(remote.hostname, hosts)) return false;
  return hosts.length > 0 || use === "base" || (use === "loaded" && carries(remote));
}

const shortPath = 64;

/** Whether an address has room for what was read: a query, credentials, a long path, or a long name below a host. */
function carries(url: URL): boolean {
  const hasQuery = url.search.length > 1 || url.username !== "" || url.password !== "";
  const isBadge = /\.(?:svg|png|gif|jpe?g|webp|ico)$/iu.test(url.pathname) && !hasQuery;
  const longest = Math.max(...url.hostname.split(".").map(({ length }) => length));
  if (longest > 32) return true;
  return hasQuery || (!isBadge && url.pathname.length > shortPath) || url.pathname.length > 160;
}

function isAllowedHost(host: string, allowed: readonly string[]): boolean {
  const name = host.toLowerCase().replace(/\.$/u, "");
  return allowed.some((one) => {
    const wanted = one.toLowerCase();
    return wanted.startsWith("*.") ? name.endsWith(wanted.slice(1)) : name === wanted;
  });
}
