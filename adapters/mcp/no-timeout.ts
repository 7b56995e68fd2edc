/**
 * Milliseconds, the most a Node timer takes. Our deadlines are AbortSignals of our own, because the SDK's
 * timeout is told apart from a server's own error of the same code (-32001) only by its text.
 */
export const noTimeout = 2_147_483_647;
