/** Made once: an error for every state left would be a seventh of a step's cost. */
const leftState = new DOMException("the step left the state that asked for this", "AbortError");

/**
 * One activity from its start until its state is left. Its signal is made when somebody reads it, and is aborted
 * only while there is work that could hear it: of the seven activities of a plain step three need one.
 */
export class OngoingActivity {
  #controller: AbortController | null = null;
  #isAborted = false;
  /** Set when the work has returned, and nothing of it can be listening any more. */
  isOver = false;

  get isAborted(): boolean {
    return this.#isAborted;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#isAborted) this.#controller.abort(leftState);
    return this.#controller.signal;
  }

  abort(): void {
    if (this.#isAborted) return;
    this.#isAborted = true;
    if (!this.isOver) this.#controller?.abort(leftState);
  }
}
