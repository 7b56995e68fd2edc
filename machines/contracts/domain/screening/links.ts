import { type Form, type Found, matchAt } from "./spans.ts";

/*
 * Links that act when a text is shown, and links that carry something away. Whoever shows a step's output (a page, a chat)
 * may load an image without being asked: an image at somebody's server, with what was read in its address, is how texts
 * are stolen through a model. And an address that is code runs where it is followed.
 */

/** Addresses that are code, or a document of their own. An image as data is neither. */
const active =
  /(?:javascript|vbscript)\s{0,8}:(?=\s*[^\s"'<>])|data\s{0,8}:\s{0,8}(?:text\/(?:html|xml|javascript)|application\/(?:xhtml\+xml|xml|javascript|x-javascript)|image\/svg\+xml)[;,]/iuy;

/** Where such an address is followed: as a link's target, or as an attribute's value. */
const opens = /(?:\]\(\s{0,8}<?|["'=]\s{0,8}|<|\]:\s{0,8})$/u;

export const activeLink: Form = {
  kind: "active-link",
  anchors: ["javascript", "vbscript", "data:"],
  find(text, at) {
    if (!opens.test(text.slice(Math.max(0, at - 12), at))) return null;
    const match = matchAt(active, text, at);
    if (match === null) return null;
    const end = at + match[0].length;
    return { span: { start: at, end }, next: end };
  },
};

export interface LinkRule {
  /** Hosts that texts may link to: `example.com`, or `*.example.com` for what is below it. */
  hosts: readonly string[];
}

const address = /\s{0,8}<?((?:https?:)?\/\/[^\s"'<>)\]]{1,2000})/iuy;
const urlOfAttribute =
  /<(?:img|a|iframe|object|embed|link|script|form|video|audio|source|track|input|base|svg|image|area|body|table|td)\b[^<>]{0,400}?\b(?:src|srcset|href|xlink:href|action|formaction|poster|data|background)\s{0,8}=\s{0,8}["']?((?:https?:)?\/\/[^\s"'<>]{1,2000})/iuy;
const styleUrl = /url\(\s{0,8}["']?((?:https?:)?\/\/[^\s"'<>)]{1,2000})/iuy;

/** Whether a browser loads what stands there without being asked. */
const loads =
  /^<(?:img|iframe|object|embed|link|script|video|audio|source|track|input|svg|image|body|table|td)/iu;

/**
 * Links to hosts that are not allowed. Without a list of hosts, only what is loaded unasked and has room for something in
 * its address is one: an image whose address has a query or a path of some length.
 */
export function foreignLinks({ hosts }: LinkRule): Form[] {
  const judge = (url: string, isLoaded: boolean): boolean => {
    const read = URL.parse(url.startsWith("//") ? `https:${url}` : url);
    if (read === null) return isLoaded;
    if (isAllowedHost(read.hostname, hosts)) return false;
    return hosts.length > 0 || (isLoaded && carries(read));
  };
  const found = (text: string, at: number, match: RegExpExecArray, isLoaded: boolean): Found => {
    const [whole, url = ""] = match;
    const end = at + whole.length;
    return { span: judge(url, isLoaded) ? { start: end - url.length, end } : null, next: end };
  };
  const markdown: Form = {
    kind: "foreign-link",
    anchors: ["](", "]:"],
    find(text, at) {
      const match = matchAt(address, text, at + 2);
      if (match === null) return null;
      return found(text, at + 2, match, isImage(text, at));
    },
  };
  const html: Form = {
    kind: "foreign-link",
    anchors: [
      "<img",
      "<ifr",
      "<obj",
      "<emb",
      "<lin",
      "<scr",
      "<for",
      "<vid",
      "<aud",
      "<sou",
    ].concat([
      "<tra",
      "<inp",
      "<bas",
      "<svg",
      "<ima",
      "<are",
      "<bod",
      "<tab",
      "<td",
      "<a ",
      "<a\n",
      "<a\t",
      "<a/",
    ]),
    find(text, at) {
      const match = matchAt(urlOfAttribute, text, at);
      if (match === null) return null;
      return found(text, at, match, loads.test(match[0]));
    },
  };
  const style: Form = {
    kind: "foreign-link",
    anchors: ["url("],
    find(text, at) {
      const match = matchAt(styleUrl, text, at);
      return match === null ? null : found(text, at, match, true);
    },
  };
  return [markdown, html, style];
}

/** How far before its address an image's description may begin. */
const longestText = 400;

/** Whether the brackets that end here belong to an image, `![…](`; or to a reference, which may be one's. */
function isImage(text: string, close: number): boolean {
  if (text[close + 1] === ":") return true;
  for (let at = close - 1, depth = 0; at >= Math.max(0, close - longestText); at -= 1) {
    if (text[at] === "]") depth += 1;
    else if (text[at] === "[") {
      if (depth === 0) return text[at - 1] === "!";
      depth -= 1;
    }
  }
  return false;
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
