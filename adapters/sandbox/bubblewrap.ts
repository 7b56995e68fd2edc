import { type BoxBuilder, confinedShell } from "./unshare.ts";
import { findTool } from "./find-tool.ts";
import { hiddenInProc, readHostView, layout, mountPoint, nodeToShow } from "./host-view.ts";
import { filterDescriptor } from "./load-filter.ts";
import { limits } from "./program.ts";

/** The user and group id that owns nothing. */
const nobody = 65_534;

/**
 * The command line of a sandbox built by bubblewrap (0.8 or later): every namespace its own, user namespaces
 * forbidden inside, all of `/proc`, `/dev` and `/` read-only, each writable folder of a fixed size.
 * As root we first become nobody, so that neither `/proc/sys` nor the process limit is open to the run.
 */
export function bubblewrap(): BoxBuilder {
  const view = readHostView();
  const node = nodeToShow();
  const asRoot = process.getuid?.() === 0;
  const source = asRoot ? stagedNode(node) : node;
  const command = [
    ...(asRoot ? becomeNobody(node) : []),
    findTool("bwrap") ?? "bwrap",
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--uid",
    String(nobody),
    "--gid",
    String(nobody),
    "--hostname",
    "sandbox",
    "--new-session",
    "--die-with-parent",
    "--cap-drop",
    "ALL",
    ...view.folders.flatMap((path) => ["--ro-bind", path, path]),
    ...view.links.flatMap(({ path, target }) => ["--symlink", target, path]),
    ...view.etc.flatMap((path) => ["--ro-bind", path, path]),
    "--proc",
    "/proc",
    ...hiddenInProc().flatMap((path) => ["--dev-bind", "/dev/null", path]),
    "--remount-ro",
    "/proc",
    "--dev",
    "/dev",
    ...tmpfs("/dev/shm", limits.sharedMemoryBytes),
    "--remount-ro",
    "/dev",
    ...tmpfs("/tmp", limits.folderBytes),
    ...tmpfs(layout.backend, limits.folderBytes),
    ...(node === null || source === null ? [] : ["--ro-bind", source, `${layout.nodeFolder}/node`]),
    "--remount-ro",
    "/",
    "--chdir",
    layout.backend,
    "--seccomp",
    String(filterDescriptor),
    "--",
  ];
  return (timeoutMs) => [...command, ...confinedShell(timeoutMs)];
}

function tmpfs(path: string, bytes: number): string[] {
  return ["--size", String(bytes), "--perms", "1777", "--tmpfs", path];
}

/** Where nobody finds our Node, which may well live below a folder that only root may enter. */
function stagedNode(node: string | null): string {
  return `${mountPoint(node)}/node`;
}

function becomeNobody(node: string | null): string[] {
  const id = String(nobody);
  return [
    ...(node === null ? [] : stage(node)),
    findTool("setpriv") ?? "setpriv",
    "--reuid",
    id,
    "--regid",
    id,
    "--clear-groups",
    "--inh-caps=-all",
    "--no-new-privs",
    "--",
  ];
}

function stage(node: string): string[] {
  const script = `mount -t tmpfs -o size=64k,mode=755 none ${mountPoint(node)} && : > "$2" && mount --bind "$1" "$2" && shift 2 && exec "$@"`;
  const words = ["/bin/sh", "-c", script, "sh", node, stagedNode(node)];
  return [findTool("unshare") ?? "unshare", "--mount", "--", ...words];
}
