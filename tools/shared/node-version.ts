/**
 * Whether this Node is new enough; says so in one line where it is not. A program asks before it imports anything else:
 * an older Node fails on what it can't load, and does not say why.
 */
export function isNodeNewEnough(program: string): boolean {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > 22 || (major === 22 && minor >= 19)) return true;
  process.stderr.write(
    `${program} needs Node 22.19 or later; this is ${process.version}; npm install node@24 brings one to a project\n`,
  );
  process.exitCode = 2;
  return false;
}
