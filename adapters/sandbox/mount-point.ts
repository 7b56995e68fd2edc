import { existsSync } from "node:fs";

/**
 * An empty place of the host's file tree to build on, in a mount namespace of our own. Nothing of the host
 * changes, but what was below is hidden while we build: so it must not hold the file we want to show.
 */
export function mountPoint(node: string | null): string {
  const places = ["/mnt", "/media", "/srv"];
  const free = (place: string) => existsSync(place) && node?.startsWith(`${place}/`) !== true;
  return places.find(free) ?? "/mnt";
}
