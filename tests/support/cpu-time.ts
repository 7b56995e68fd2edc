/**
 * Milliseconds of a processor that this process has used so far: for what is to take time in proportion to its input. The
 * clock would count what other processes of the machine do meanwhile.
 */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** Looks at the loop until it is asked: milliseconds of a processor that its longest turn took, give or take ten. */
export function longestTurn(): () => number {
  let [last, longest] = [cpuMs(), 0];
  const timer = setInterval(() => {
    const now = cpuMs();
    longest = Math.max(longest, now - last);
    last = now;
  }, 10);
  return () => {
    clearInterval(timer);
    return longest;
  };
}
