import { existsSync, lstatSync, mkdirSync, readlinkSync, realpathSync } from "node:fs";
import { delimiter, join } from "node:path";
import { exactText } from "../shared/bytes.ts";
import { HeldPaths } from "../shared/held-paths.ts";
import { firstDescriptor } from "../shared/run-program.ts";
import type { Guarded, Writable } from "./guarded.ts";
import { limits } from "./limits.ts";
import { foldersUp, type Project } from "./project.ts";
import { cargoHome, type Toolchains } from "./toolchains.ts";

/** Below a node_modules, what Vite writes before it can read its configuration. */
const scratch = [".vite", ".vite-temp"];

export const system = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const etc = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"];

/** What one sandbox is made of. */
export interface Box {
  toolchains: Toolchains;
  project: Project;
  /** Null where nothing of the project may be written. */
  writable: Writable | null;
  /** A folder of this server alone for what compilers keep. */
  cache: string;
  held: HeldPaths;
}

/**
 * The words of bubblewrap. Each folder is handed to it as an open descriptor on what was looked at here, since a run of a
 * project above may put a link in its place at any time; nothing is bound by its name. Bubblewrap closes each as it binds
 * it: whatever is held and not bound would be a way out.
 *
 * @throws Error - something is gone, or a link by now
 */
export function boxWords({ toolchains, project, writable, cache, held }: Box): string[] {
  const { root, folder } = project;
  const bind = (how: "--bind-fd" | "--ro-bind-fd", place: number, to: string) => [
    how,
    String(firstDescriptor + place),
    to,
  ];
  const show = (path: string, to = path) => bind("--ro-bind-fd", held.hold(realOrSame(path)), to);
  return [
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--uid",
    "65534",
    "--gid",
    "65534",
    "--hostname",
    "sandbox",
    "--new-session",
    "--die-with-parent",
    "--cap-drop",
    "ALL",
    "--clearenv",
    ...Object.entries(environment("/tmp", toolchains)).flatMap(([key, value]) => [
      "--setenv",
      key,
      value,
    ]),
    ...system.flatMap((path) => {
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat === undefined) return [];
      return stat.isSymbolicLink() ? ["--symlink", readlinkSync(path), path] : show(path);
    }),
    ...etc.filter((path) => existsSync(path)).flatMap((path) => show(path)),
    "--proc",
    "/proc",
    "--remount-ro",
    "/proc",
    "--dev",
    "/dev",
    "--size",
    String(limits.folderBytes),
    "--perms",
    "1777",
    "--tmpfs",
    "/tmp",
    ...toolchains.show.flatMap((path) => show(path)),
    ...toolchains.links.flatMap(([inside, outside]) => show(outside, inside)),
    ...bind("--ro-bind-fd", held.hold(root), root),
    ...(writable === null ? [] : writableWords(writable)),
    ...bind("--bind-fd", held.hold(cache), cacheFolder),
  ];

  function writableWords({ top, guarded, isGitPlaceTaken }: Writable) {
    const git = join(folder, ".git");
    return [
      ...bind("--bind-fd", top, folder),
      ...guarded.flatMap(({ path, isLink }) => {
        const name = exactText(path);
        return isLink || name === null
          ? []
          : bind("--ro-bind-fd", held.hold(name, top), join(folder, name));
      }),
      ...(isGitPlaceTaken ? ["--perms", "0555", "--tmpfs", git, "--remount-ro", git] : []),
      ...scratchFolders(project, guarded).flatMap((path) => [
        "--size",
        String(64 * 1_048_576),
        "--tmpfs",
        path,
      ]),
    ];
  }
}

/** Where compilers keep what they made. */
const cacheFolder = "/tmp/.cache";

/** Made where they are missing, as Vite would: what is mounted needs a place to be mounted at. */
function scratchFolders(project: Project, guarded: readonly Guarded[]): string[] {
  const own = guarded
    .filter(({ path, isLink }) => !isLink && /(?:^|\/)node_modules$/.test(path))
    .map(({ path }) => join(project.folder, exactText(path) ?? ""));
  const above = foldersUp(project)
    .slice(1)
    .map((up) => join(up, "node_modules"))
    .find(isPlainFolder);
  return [...own, ...(above === undefined ? [] : [above])].flatMap((modules) => {
    const held = new HeldPaths();
    try {
      const at = held.pathOf(held.hold(modules));
      if (!existsSync(join(at, ".bin"))) return [];
      return scratch.flatMap((name) => {
        if (!existsSync(join(at, name))) mkdirSync(join(at, name));
        return isPlainFolder(join(at, name)) ? [join(modules, name)] : [];
      });
    } catch {
      return [];
    } finally {
      held.close();
    }
  });
}

/** A link in its place would show or hide what it leads to. */
function isPlainFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

export function realOrSame(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}

/** All that is in a run's environment. */
export function environment(home: string, { path, links }: Toolchains): Record<string, string> {
  const folders = [...new Set(path), "/usr/local/bin", "/usr/bin", "/bin"];
  return {
    PATH: folders.join(delimiter),
    HOME: home,
    TMPDIR: "/tmp",
    LANG: "C.UTF-8",
    USER: "nobody",
    CI: "true",
    NO_COLOR: "1",
    PYTHONDONTWRITEBYTECODE: "1",
    PYTHONUNBUFFERED: "1",
    COVERAGE_FILE: "/tmp/.coverage",
    RUST_BACKTRACE: "0",
    CARGO_NET_OFFLINE: "true",
    CARGO_TERM_COLOR: "never",
    GOTOOLCHAIN: "local",
    GOPROXY: "off",
    GOCACHE: `${cacheFolder}/go`,
    GOTELEMETRY: "off",
    ...(links.length === 0 ? {} : { CARGO_HOME: cargoHome }),
  };
}
