import { lstatSync, readlinkSync } from "node:fs";

export interface HostView {
  /** Folders shown read-only at the same path. */
  folders: string[];
  /** Symlinks made again as they are (`/bin` → `usr/bin`). */
  links: { path: string; target: string }[];
  /** Files and folders of /etc that programs need to find their libraries and interpreters. */
  etc: string[];
}

const system = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const etc = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"];

/** The part of this host that a sandbox shows: programs and libraries, nothing that says who or where we are. */
export function readHostView(): HostView {
  const view: HostView = { folders: [], links: [], etc: etc.filter((path) => kind(path) !== null) };
  for (const path of system) {
    if (kind(path) === "link") view.links.push({ path, target: readlinkSync(path) });
    if (kind(path) === "folder") view.folders.push(path);
  }
  return view;
}

function kind(path: string): "link" | "folder" | "file" | null {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return null;
  if (stat.isSymbolicLink()) return "link";
  return stat.isDirectory() ? "folder" : "file";
}
