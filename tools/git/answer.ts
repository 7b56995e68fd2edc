/** A value, or one line that says what is wrong. */
export type Answer<T> = { ok: true; value: T } | { ok: false; problem: string };
