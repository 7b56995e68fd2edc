import { Trouble } from "../output/trouble.ts";
import type { Invocation } from "../program.ts";

const standard = 20;
const most = 100;

/** `--limit N`. @throws Trouble */
export function readLimit({ flags }: Pick<Invocation, "flags">): number {
  const given = flags["limit"];
  if (typeof given !== "string") return standard;
  const limit = /^\d+$/.test(given) ? Number(given) : Number.NaN;
  if (limit >= 1 && limit <= most) return limit;
  throw new Trouble(2, `--limit: expected a whole number, 1 to ${most}`);
}
