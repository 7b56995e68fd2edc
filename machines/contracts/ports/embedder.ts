import type { Outcome } from "../domain/failure.ts";

/** Makes vectors of texts: the closer in meaning two texts are, the closer are theirs. */
export interface Embedder {
  /** What made a vector, as it is kept with it: vectors of two models can't be compared. */
  readonly model: string;
  /** The longest text that it reads whole, in characters; chunks are cut to that. */
  readonly chunkCharacters: number;
  /**
   * One vector for each text, in their order, each of length 1.
   *
   * @param texts none of them blank
   */
  embed(texts: readonly string[], signal: AbortSignal): Promise<Outcome<Float32Array[]>>;
  /** Gives back what it holds; it may be used again. */
  close(): Promise<void>;
}
