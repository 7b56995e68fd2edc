#!/usr/bin/env node
// Nothing is imported before the version is known: an older Node fails on what it can't load, and does not say why.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `stateplane needs Node 22.19 or later; this is ${process.version}; npm install node@24 brings one to a project\n`,
  );
  process.exitCode = 2;
} else {
  const { startAnew, takeEnvironment } = await import("./start-anew.ts");
  const trouble = takeEnvironment();
  if (trouble !== null) {
    process.stderr.write(`stateplane ${trouble}\n`);
    process.exit(3);
  }
  startAnew(process.argv.slice(2));
  const { enableCompileCache } = await import("node:module");
  // What one start has compiled the next one reads; where nothing can be kept, nothing is.
  enableCompileCache();
  const { main } = await import("./main.ts");
  process.exitCode = await main(process.argv.slice(2));
  // What will not close keeps nobody waiting; the rest has been closed in order.
  setTimeout(() => process.exit(), 3_000).unref();
}
