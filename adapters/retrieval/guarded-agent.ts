import { lookup as systemLookup, type LookupAddress, type LookupAllOptions } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import type { Agent } from "undici";

/** Where no service of anyone's listens: the clouds' metadata, this network, groups of machines. */
const never = listOf(
  ["0.0.0.0/8", "169.254.0.0/16", "192.0.0.192/32", "100.100.100.200/32", "224.0.0.0/3"],
  ["::/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128"],
);
const internal = listOf(
  [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
  ],
  ["::1/128", "fc00::/7"],
);

function listOf(v4: readonly string[], v6: readonly string[]): BlockList {
  const list = new BlockList();
  for (const [ranges, family] of [
    [v4, "ipv4"],
    [v6, "ipv6"],
  ] as const) {
    for (const range of ranges) {
      const [net = "", bits] = range.split("/");
      list.addSubnet(net, Number(bits), family);
    }
  }
  return list;
}

/** A connection that is not made: the address is none that the endpoint may have. */
export class RefusedAddress extends Error {
  override readonly name = "RefusedAddress";
  readonly code = "REFUSED_ADDRESS";
}

export interface AddressRules {
  /** Whether a public name may stand for an address of an internal network. */
  allowInternal: boolean;
}

/**
 * Why an endpoint's host may not be connected to at this address; null when it may. A host that is itself internal
 * (`localhost`, `search`, `search.internal`, `10.0.0.5`) is its owner's own choice. A public name that leads into the
 * internal network is what an attack on the name looks like.
 */
export function addressProblem(
  host: string,
  address: string,
  { allowInternal }: AddressRules,
): string | null {
  const plain = embeddedV4(address) ?? address;
  const family = isIP(plain) === 6 ? "ipv6" : "ipv4";
  if (never.check(plain, family))
    return `${host} leads to ${address}, where no service may be asked`;
  if (allowInternal || isInternalName(host) || !internal.check(plain, family)) return null;
  return `${host} leads to the internal address ${address}, which a public name may not (STATEPLANE_RETRIEVAL_INTERNAL=yes allows it)`;
}

/**
 * The IPv4 address that a connection to one of IPv6 reaches: mapped (`::ffff:0:0/96`), translated (`64:ff9b::/96`, and a
 * network's own `64:ff9b:1::/48`), or the relay's in one of 6to4 (`2002::/16`).
 */
function embeddedV4(address: string): string | null {
  if (isIP(address) !== 6) return null;
  const words = wordsOf(address);
  const head = words.slice(0, 6).join(":");
  const isLast = head === "0:0:0:0:0:65535" || (words[0] === 0x64 && words[1] === 0xff9b);
  const pair = isLast ? words.slice(6) : words[0] === 0x2002 ? words.slice(1, 3) : null;
  return pair === null ? null : pair.flatMap((word) => [word >>> 8, word & 255]).join(".");
}

/** The eight words of an IPv6 address, however it is written. */
function wordsOf(address: string): number[] {
  // The URL parser writes every one in hexadecimal, the longest row of zeros as `::`.
  const written = URL.parse(`http://[${address.split("%")[0]}]`)?.hostname.slice(1, -1) ?? "";
  const [before = [], after = []] = written
    .split("::")
    .map((part) => part.split(":").filter((word) => word !== ""));
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...zeros, ...after].map((word) => Number.parseInt(word, 16));
}

function isInternalName(host: string): boolean {
  if (isIP(host) !== 0 || !host.includes(".")) return true;
  return /\.(?:localhost|local|internal|intranet|lan|corp|home\.arpa|svc|cluster)\.?$/u.test(host);
}

type Resolve = (
  host: string,
  options: LookupAllOptions,
  done: (error: NodeJS.ErrnoException | null, found: LookupAddress[]) => void,
) => void;

/**
 * An agent that looks at each address of a name before it connects to any.
 *
 * @param resolve finds a name's addresses; the system's own when left out
 */
export async function guardedAgent(
  rules: AddressRules,
  resolve: Resolve = systemLookup,
): Promise<Agent> {
  const { Agent: UndiciAgent } = await import("undici");
  const lookup: LookupFunction = (host, options, done) => {
    resolve(host, { ...options, all: true }, (error, found: LookupAddress[] = []) => {
      const problem = found.map(({ address }) => addressProblem(host, address, rules));
      const refused = problem.find((one) => one !== null);
      const [first] = found;
      if (error !== null) done(error, "");
      else if (refused !== undefined) done(new RefusedAddress(refused ?? ""), "");
      else if (options.all === true) done(null, found);
      else done(null, first?.address ?? "", first?.family);
    });
  };
  return new UndiciAgent({ connect: { lookup } });
}
