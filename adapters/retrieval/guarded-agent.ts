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

/** The IPv4 address inside one of IPv6: mapped (`::ffff:0:0/96`) or translated (`64:ff9b::/96`). */
function embeddedV4(address: string): string | null {
  if (isIP(address) !== 6) return null;
  // The URL parser writes every IPv6 address in one way.
  const written = URL.parse(`http://[${address.split("%")[0]}]`)?.hostname ?? "";
  const [, high, low] =
    /^\[(?:::ffff|64:ff9b:):([\da-f]{1,4}):([\da-f]{1,4})\]$/u.exec(written) ?? [];
  if (high === undefined || low === undefined) return null;
  const bits = Number.parseInt(high, 16) * 65_536 + Number.parseInt(low, 16);
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join(".");
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
