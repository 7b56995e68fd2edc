/**
 * A map for what comes and goes as long as the process lives, where its values are worth a thought to the garbage
 * collector: a step alive, say, with its job.
 *
 * A plain Map that is full of deleted entries gets a new table from V8, and the old one, with what was in the map at the
 * time, leads to the new one. Let one such table be moved to the old generation, as a full collection does with all that
 * is alive: it keeps its successor from being collected as young garbage, dead as both are, and that one the next. All
 * that they hold is moved to the old generation too, and waits there for the next full collection, after which it begins
 * again. Here tables hold boxes, and a box is emptied when its entry is deleted.
 *
 * @example
 * const alive = new BoxedMap<string, { job: string }>();
 * alive.set("1-0", { job: "retrieval" });
 * alive.get("1-0")?.job; // retrieval
 * alive.delete("1-0");
 */
export class BoxedMap<K, V extends object> {
  readonly #boxes = new Map<K, { value: V | null }>();

  get size(): number {
    return this.#boxes.size;
  }

  get(key: K): V | undefined {
    return this.#boxes.get(key)?.value ?? undefined;
  }

  set(key: K, value: V): void {
    const box = this.#boxes.get(key);
    if (box === undefined) this.#boxes.set(key, { value });
    else box.value = value;
  }

  delete(key: K): void {
    const box = this.#boxes.get(key);
    if (box === undefined) return;
    box.value = null;
    this.#boxes.delete(key);
  }

  keys(): IterableIterator<K> {
    return this.#boxes.keys();
  }

  *values(): IterableIterator<V> {
    for (const { value } of this.#boxes.values()) if (value !== null) yield value;
  }

  /** As of a Map: in the order in which they were set, and without those that are deleted meanwhile. */
  *[Symbol.iterator](): IterableIterator<[K, V]> {
    for (const [key, { value }] of this.#boxes) if (value !== null) yield [key, value];
  }
}
