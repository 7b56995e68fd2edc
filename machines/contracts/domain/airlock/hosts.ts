import { matchesGlob } from "../glob.ts";
import { cutText } from "../text.ts";
import { isReaching, isRunner, type Leaf } from "./leaves.ts";

/*
 * Which hosts a call's arguments name, as whoever calls them reads them. Addresses are read by WHATWG's URL, which gives
 * one spelling to all that mean the same: `2130706433`, `0177.0.0.1` and `127.1` are 127.0.0.1, `ＥＶＩＬ.com` is evil.com,
 * other scripts are punycode, and what stands before an `@` is no host.
 *
 *   looked at                                          read as
 *   keys such as url, endpoint, webhook, redirect_uri  an address, with or without its scheme
 *   keys such as host, domain                          a host
 *   keys such as to, cc, recipients                    the hosts of mail addresses
 *   any text of a tool that reaches other hosts, or    every address in it; of a command also what a program such as
 *   runs commands                                      curl is given
 *
 * An address inside an address (a redirect, percent-encoded or not) is looked at as well, three deep.
 */

export interface NamedHost {
  /** Canonical; without brackets and without a dot at its end. */
  host: string;
  /** Where in the arguments it stands. */
  at: string;
  isAddress: boolean;
  /** Whether a command is what names it, and not a call of another host. */
  isOfCommand: boolean;
  /** `ambiguous`: another reader may see another host in it. `unreadable`: it is none, or holds a variable. */
  trouble: "ambiguous" | "unreadable" | null;
}

const urlKeys =
  /(?:url|uri|urls|uris|href|link|endpoint|webhook|webhooks|callback|callbackurl|baseurl|redirect|redirecturi|redirecturl|website|site|remoteurl|proxy|feed)$/u;
const hostKeys = /(?:host|hostname|hosts|domain|domains|ipaddress|ip)$/u;
const mailKeys =
  /^(?:to|cc|bcc|replyto|mailto|sendto)$|(?:recipients?|e?mails?|e?mailto|(?:mail|to|cc|recipient)?address(?:es)?)$/u;

const scheme = /^[a-z][a-z0-9+.-]{0,20}:[/\\]{1,4}/iu;
/** Those after which WHATWG wants no slashes. */
const special = /^(?:https?|wss?|ftp):/iu;
const inText =
  /\b(?:https?|wss?|ftps?|ssh|git|sftp|rsync|ldaps?|gopher|telnet|s3|gs):[/\\]{1,4}(?:[^\s"'<>`|;)\]}@/]{1,100}@)?(?:\[[\da-f:.%]{2,60}\][^\s"'<>`|;)\]}]{0,2000}|[^\s"'<>`|;)\]}]{1,2000})/giu;
/** What stands after the `@` of an address, however its first part is written; an address literal in its brackets. */
const mail = /(?<=[^\s,;<(]@)(?:\[[\w:.]{2,60}\]|[^\s@,;:<>()[\]"']{1,253})/gu;
/** What programs that reach other hosts are given without a scheme. */
const given =
  /\b(?:curl|wget|nc|ncat|netcat|telnet|ssh|scp|sftp|rsync|ftp|ping|dig|nslookup|host)\b((?:\s{1,4}[^\s|;&<>]{1,300}){1,12})/gu;
const hostLike =
  /^(?:[\w.+-]{1,64}@)?((?:[\p{L}\p{N}_-]{1,63}\.){1,8}[\p{L}]{2,63}|\d{1,3}(?:\.\d{1,3}){3})\.?(?::[\w/.~-]{0,200})?(?:[/?#].{0,300})?$/u;
/** Endings of files, that are endings of hosts too. */
const fileLike = /\.(?:sh|py|js|ts|json|md|txt|html?|ya?ml|zip|gz|tar|log|csv|pl|rs|so|rb|go)$/iu;

export function hostsOf(tool: string, leaf: Leaf): NamedHost[] {
  const { key, at, text } = leaf;
  const found: NamedHost[] = [];
  const isOfCommand = isRunner(tool) && !isReaching(tool);
  const add = (address: string) => {
    found.push(...read(address, 0).map((host) => ({ ...host, at, isOfCommand })));
  };
  if (urlKeys.test(key)) {
    const address = addressOf(text);
    if (address !== null) add(address);
  } else if (hostKeys.test(key) && text.length <= 2_000) {
    for (const host of listed(text)) add(isOpenIpv6(host) ? `http://[${host}]` : asAddress(host));
  } else if (key === "remote" && hostLike.test(text)) add(`http://${text}`);
  if (mailKeys.test(key) || /^\s*mailto:/iu.test(text)) {
    for (const [host] of text.matchAll(mail)) {
      add(`http://${host.replace(/^\[(?:ipv6:)?(?=[\d.]+\]$)|(?<=^\[[\d.]+)\]$/giu, "")}`);
    }
  }
  if (isReaching(tool) || isRunner(tool)) {
    for (const [address] of text.matchAll(inText)) add(address);
  }
  if (isRunner(tool)) {
    for (const [, words = ""] of text.matchAll(given)) {
      for (const word of words.trim().split(/\s+/u)) {
        // As a shell joins them: `ev''il.com` is a host.
        const bare = word.replaceAll(/["'\\]/gu, "").replaceAll(/[。．｡]/gu, ".");
        const host = hostLike.exec(bare)?.[1];
        if (host !== undefined && !fileLike.test(host)) add(`http://${host}`);
      }
    }
  }
  return found;
}

/** Of an address as it is written, with or without its scheme; null for a path, a word, or an address without a host. */
function addressOf(text: string): string | null {
  // As WHATWG reads it: without blanks and controls around it, and without tabs and line ends in it.
  const trimmed = text.replaceAll(/^[\p{Cc}\s]+|[\p{Cc}\s]+$/gu, "");
  const joined = trimmed.replaceAll(/[\t\n\r]/gu, "");
  for (const one of [trimmed, joined]) if (scheme.test(one) || special.test(one)) return one;
  if (/^[\\/]{2}/u.test(joined)) return `http:${joined}`;
  if (/^\S{1,2000}$/u.test(joined) && isWithoutScheme(joined)) return `http://${joined}`;
  return null;
}

/** `evil.com/x`, `localhost:80`, `me@evil.com`, in any digits and points that a client takes for those; but not `urn:x`. */
function isWithoutScheme(text: string): boolean {
  if (
    hostLike.test(text) ||
    /^\[|^(?:\p{N}{8,}|0x[\da-f]{7,}|\p{N}[\p{N}a-fx]*[.:])|^localhost(?:[:/?#]|$)/iu.test(text)
  )
    return true;
  const authority = /^[^/\\?#]*/u.exec(text)?.[0] ?? "";
  if (authority.includes("@")) return true;
  if (/^[a-z][a-z0-9+.-]*:(?!\d)/iu.test(authority)) return false;
  return /[^.][.。．｡][^.]|[:%]/u.test(authority);
}

/** The hosts of a list; of words, only those that can't be anything else. */
function listed(text: string): string[] {
  const parts = text.split(/[\s,;"']+/u).filter((part) => part !== "");
  return parts.length === 1 ? parts : parts.filter((part) => /[.:%。．｡]/u.test(part));
}

const asAddress = (text: string): string => (scheme.test(text) ? text : `http://${text}`);
const isOpenIpv6 = (text: string): boolean =>
  text.split(":").length > 2 && /^[\da-f:.]+$/iu.test(text);

/** Addresses inside an address that are looked at. */
const mostInner = 20;
const firstOf = (all: readonly string[], most: number) => all.filter((_, at) => at < most);

type ReadHost = Omit<NamedHost, "at" | "isOfCommand">;

function read(address: string, depth: number): ReadHost[] {
  // Of a scheme that WHATWG does not know it keeps the host as it stands; as http it is canonical.
  const url = URL.parse(address.replace(/^[a-z][a-z0-9+.-]{0,20}:[/\\]*/iu, "http://"));
  if (url === null) {
    return [{ host: cutText(address, 100), isAddress: false, trouble: "unreadable" }];
  }
  const host = url.hostname.replaceAll(/^\[|\]$/gu, "").replace(/\.+$/u, "");
  const isAddress = url.hostname.startsWith("[") || /^\d{1,3}(?:\.\d{1,3}){3}$/u.test(host);
  // Clients disagree on a backslash, a blank or a control character before the path, and on two `@`.
  const authority = /^[a-z][a-z0-9+.-]*:[/\\]*([^/?#]*)/iu.exec(address)?.[1] ?? "";
  const isAmbiguous = /[\\\s\p{Cc}]/u.test(authority) || authority.split("@").length > 2;
  const named: ReadHost[] = [{ host, isAddress, trouble: isAmbiguous ? "ambiguous" : null }];
  if (depth >= 3) return named;
  const values = [...url.searchParams.values()];
  const rest = [...values, url.pathname, url.hash.slice(1)].map(decoded);
  const inner = rest.flatMap(
    (part) => part.match(/(?:https?|wss?|ftp):[/\\]{1,4}[^\s"'<>]{1,2000}/giu) ?? [],
  );
  const relative = values.filter((part) => /^[/\\]{2}[^/\\]/u.test(part));
  const all = [...inner, ...relative.map((part) => `http:${part}`)];
  return [...named, ...firstOf(all, mostInner).flatMap((part) => read(part, depth + 1))];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Addresses of this machine, of its network and of its cloud. */
const internal =
  /^(?:0\.|10\.|127\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|::1?$|::ffff:|64:ff9b:|f[cd][\da-f]{2}:|fe[89ab][\da-f]:)/iu;
const metadataNames =
  /^(?:metadata\.google\.internal|metadata|instance-data(?:\.ec2\.internal)?)$/u;

export interface HostFinding {
  violation: "exfiltrationattempt" | "ipaddressused";
  score: number;
  details: string;
}

/** What is wrong with calling a host; null for nothing. */
export function problemOfHost(
  named: NamedHost,
  rules: { allowedHosts?: readonly string[]; blockAddresses?: boolean },
): HostFinding | null {
  const { host, at, isAddress, isOfCommand, trouble } = named;
  const { allowedHosts = [], blockAddresses = true } = rules;
  const where = at === "" ? "an argument" : at;
  if (trouble === "ambiguous" || (trouble === "unreadable" && allowedHosts.length > 0)) {
    const why = trouble === "ambiguous" ? "that programs read differently" : "that can't be read";
    const details = `${where} names a host ${why}`;
    return { violation: "exfiltrationattempt", score: 85, details };
  }
  if (trouble !== null) return null;
  if (allowedHosts.some((entry) => matchesGlob(canonical(entry), host))) return null;
  if (isAddress && blockAddresses) {
    const kind = internal.test(host)
      ? "an internal address"
      : "an address in place of a host's name";
    // Where a command runs, that machine itself is no other host: a server under test is called so.
    const isItself = isOfCommand && /^(?:127\.|::1$)/u.test(host);
    const details = `${where} names ${kind}: ${host}`;
    return { violation: "ipaddressused", score: isItself ? 60 : 80, details };
  }
  if (metadataNames.test(host)) {
    const details = `${where} names the cloud's metadata service: ${host}`;
    return { violation: "exfiltrationattempt", score: 90, details };
  }
  if (allowedHosts.length === 0) return null;
  const details = `${where} names a host that is not allowed: ${cutText(host, 253)}`;
  return { violation: "exfiltrationattempt", score: 85, details };
}

/** An entry as the hosts are spelled that it is compared with. */
function canonical(entry: string): string {
  const bare = entry.trim().toLowerCase().replace(/\.+$/u, "");
  if (/[*?]/u.test(bare)) return bare;
  const isBare = bare.split(":").length > 2 && !bare.startsWith("[");
  const url = URL.parse(`http://${isBare ? `[${bare}]` : bare}`);
  return url === null ? bare : url.hostname.replaceAll(/^\[|\]$/gu, "").replace(/\.+$/u, "");
}
