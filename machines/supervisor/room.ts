/** How many more jobs the worker may take now: none while it holds. */
export function room(state: { capacity: number; running: number; holding: boolean }): number {
  return state.holding ? 0 : Math.max(0, state.capacity - state.running);
}
