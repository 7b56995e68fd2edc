/**
 * A list that is changed by making a new one, at the same cost however long it is: a tree of arrays of 32, of which a
 * change copies one from the root to the item and shares all others. JSON as it stands.
 */
export interface Table<T> {
  size: number;
  /** Arrays between the root and the items: 0 while there are at most 32 items. */
  levels: number;
  root: Branch<T>;
}

type Branch<T> = (Branch<T> | T)[];

const bits = 5;
const width = 32;

export const emptyTable: Table<never> = { size: 0, levels: 0, root: [] };

/** The item at a place; undefined beyond the end. */
export function itemAt<T>({ root, levels, size }: Table<T>, at: number): T | undefined {
  if (at < 0 || at >= size) return undefined;
  let branch = root;
  for (let level = levels; level > 0; level -= 1) {
    branch = branch[(at >>> (bits * level)) % width] as Branch<T>;
  }
  return branch[at % width] as T;
}

/** Many changes to a table as one: what it has copied once it changes in place, until it is done. */
export class TableEditor<T> {
  #table: Table<T>;
  readonly #own = new Set<Branch<T>>();

  constructor(table: Table<T>) {
    this.#table = table;
  }

  get size(): number {
    return this.#table.size;
  }

  at(at: number): T | undefined {
    return itemAt(this.#table, at);
  }

  set(at: number, item: T): void {
    const { levels } = this.#table;
    let branch = this.#copy(this.#table.root);
    if (branch !== this.#table.root) this.#table = { ...this.#table, root: branch };
    for (let level = levels; level > 0; level -= 1) {
      const place = (at >>> (bits * level)) % width;
      const below = this.#copy((branch[place] ?? []) as Branch<T>);
      branch[place] = below;
      branch = below;
    }
    branch[at % width] = item;
  }

  /** Puts an item at the end; returns its place. */
  push(item: T): number {
    const { size, levels, root } = this.#table;
    this.#table =
      size === width ** (levels + 1)
        ? { size: size + 1, levels: levels + 1, root: [root] }
        : { size: size + 1, levels, root };
    this.set(size, item);
    return size;
  }

  /** The table as it is now; shared with later changes until {@link TableEditor} is made anew. */
  done(): Table<T> {
    return this.#table;
  }

  #copy(branch: Branch<T>): Branch<T> {
    if (this.#own.has(branch)) return branch;
    const copy = [...branch];
    this.#own.add(copy);
    return copy;
  }
}
