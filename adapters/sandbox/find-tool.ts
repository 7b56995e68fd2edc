import { delimiter, isAbsolute } from "node:path";
import which from "which";

/** The absolute path of a program on our PATH, or in a folder that a service's PATH tends to lack; null if absent. */
export function findTool(name: string): string | null {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter(isAbsolute);
  const path = [...folders, "/usr/sbin", "/usr/bin", "/sbin", "/bin"].join(delimiter);
  return which.sync(name, { nothrow: true, path });
}
