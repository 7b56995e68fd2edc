/** Loaded before a contender: on SIGUSR2 it collects its garbage and says what is left. */
process.on("SIGUSR2", () => {
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  process.stderr.write(`memory ${JSON.stringify({ heapBytes: heapUsed + external, rss })}\n`);
});
