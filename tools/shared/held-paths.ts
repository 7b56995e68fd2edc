import { closeSync, constants, fstatSync, openSync } from "node:fs";

/** O_PATH of open(2), which Node does not name: the descriptor stands for a file, and nothing of it can be read by it. */
const pathOnly = 0o10000000;
const { O_DIRECTORY, O_NOFOLLOW } = constants;

/**
 * Files and folders that stay the very ones they were when they were looked at, whatever takes their names afterwards.
 * A path that is used a second time may lead elsewhere by then; a descriptor can't. Linux only.
 */
export class HeldPaths {
  readonly #descriptors: number[] = [];

  /** In the order in which they were taken. */
  get descriptors(): readonly number[] {
    return this.#descriptors;
  }

  /**
   * @param path - a real path: each folder of it is opened in the one before, and none of them may be a link
   * @param from - what is held already, and what the path is relative to; else the root of all
   * @returns its place in {@link descriptors}
   * @throws Error - there is no such path, or a part of it is a link by now
   */
  hold(path: string, from?: number): number {
    const names = path.split("/").filter(Boolean);
    let at = openSync(from === undefined ? "/" : this.pathOf(from), pathOnly | O_DIRECTORY);
    try {
      for (const [index, name] of names.entries()) {
        const kind = index === names.length - 1 ? 0 : O_DIRECTORY;
        const next = openSync(`/proc/self/fd/${at}/${name}`, pathOnly | O_NOFOLLOW | kind);
        closeSync(at);
        at = next;
      }
      if (fstatSync(at).isSymbolicLink()) {
        const error = new Error(`ELOOP: ${path} is a link by now`);
        throw Object.assign(error, { code: "ELOOP", syscall: "open" });
      }
    } catch (error) {
      closeSync(at);
      throw error;
    }
    return this.#descriptors.push(at) - 1;
  }

  /** A path that leads to what is held, for this process alone. */
  pathOf(index: number): string {
    return `/proc/self/fd/${this.#descriptors[index]}`;
  }

  close(): void {
    for (const descriptor of this.#descriptors.splice(0)) closeSync(descriptor);
  }
}
