/**
 * Milliseconds of a processor that this process has used so far: for what is to take time in proportion to its input. The
 * clock would count what other processes of the machine do meanwhile.
 */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
