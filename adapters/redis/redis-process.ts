import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { createConnection, createServer } from "node:net";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { delimiter } from "node:path";
import which from "which";
import { StoreUnreachable } from "../../machines/contracts/domain/errors.ts";

/** How long a starting server may be silent, and a stopping one may write its append-only file. */
const patienceMs = 15_000;

export interface RedisProcess {
  pid: number;
  /** Resolves when it has ended: with how, for the middle of a sentence. */
  ended: Promise<string>;
  /** Ends the server cleanly (SIGTERM), or by force when that takes too long. */
  stop(): Promise<void>;
}

/**
 * Starts a server that keeps its data in `directory` (absolute) and listens on `address` alone. It gets its
 * settings on standard input, so that no password shows in the process list, and a process group of its own,
 * so that a Ctrl-C meant for us does not stop it while steps are still being put away.
 *
 * @throws StoreUnreachable when it ends early or does not answer in time
 */
export async function startRedisProcess(
  binary: string,
  directory: string,
  address: Address,
): Promise<RedisProcess> {
  const blank = openSync("/dev/null", "r+");
  const child = spawn(binary, ["-"], {
    cwd: directory,
    detached: true,
    stdio: ["pipe", "ignore", "ignore", ...blanked(blank)],
  });
  closeSync(blank);
  const ended = once(child, "exit").then(
    ([code, signal]) => `ended with ${signal ?? `code ${code}`}`,
    (error: Error) => `could not be run (${error.message})`,
  );
  // A child that could not start, or ended at once, breaks the pipe; `ended` says so.
  child.stdin?.on("error", () => {});
  child.stdin?.end(settings(directory, address));
  child.unref();
  // A process that falls, or is ended in the middle of its end, leaves no server that nobody will stop.
  const endWithUs = () => child.kill("SIGTERM");
  process.once("exit", endWithUs);
  child.once("exit", () => process.off("exit", endWithUs));

  const early = ended.then((how) => `it ${how}; see ${directory}/redis.log`);
  const problem = await Promise.race([early, answer(address)]);
  if (problem !== null) {
    await end(child);
    throw new StoreUnreachable(`${binary} in ${directory}`, problem);
  }
  return { pid: child.pid ?? 0, ended, stop: () => end(child) };
}

/**
 * What stands in a child's descriptors from 3 on: for each one that it would inherit from whoever started us (a lock, a
 * file with a secret), the null device. Node's own are closed in a child, and "ignore" leaves such a one open. Where
 * there is no /proc they can't be listed.
 */
function blanked(blank: number): ("ignore" | number)[] {
  const inherited = listDescriptors().filter(
    (descriptor) => descriptor > 2 && isInherited(descriptor),
  );
  const slots: ("ignore" | number)[] = [];
  for (const descriptor of inherited.sort((a, b) => a - b)) {
    while (slots.length < descriptor - 3) slots.push("ignore");
    slots.push(blank);
  }
  return slots;
}

function listDescriptors(): number[] {
  try {
    return readdirSync("/proc/self/fd").map(Number);
  } catch {
    return [];
  }
}

const closeOnExec = 0o2000000;

function isInherited(descriptor: number): boolean {
  try {
    const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"));
    return (Number.parseInt(flags?.[1] ?? "0", 8) & closeOnExec) === 0;
  } catch {
    // Closed since it was listed.
    return false;
  }
}

async function answer(address: Address): Promise<string | null> {
  let deadline = Date.now() + patienceMs;
  while (Date.now() < deadline) {
    const reply = await ask(address, "PING", 1_000).catch(() => "");
    if (reply === "+PONG") return null;
    // However much it has to load, it says so.
    if (reply.startsWith("-LOADING")) deadline = Date.now() + patienceMs;
    await sleep(10);
  }
  return `no answer to PING within ${patienceMs} ms`;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), patienceMs);
  await exit;
  clearTimeout(force);
}

function settings(directory: string, address: Address): string {
  return [
    ...listening(address),
    `dir ${JSON.stringify(directory)}`,
    "appendonly yes",
    // A write that was answered is on the disk: what was begun must not be forgotten, even in a power cut.
    "appendfsync always",
    // The append-only file has everything; a dump beside it would only cost.
    'save ""',
    "daemonize no",
    "loglevel warning",
    'logfile "redis.log"',
    "",
  ].join("\n");
}

function listening(address: Address): string[] {
  if ("path" in address) {
    return ["port 0", `unixsocket ${JSON.stringify(address.path)}`, "unixsocketperm 700"];
  }
  const { host, port, password } = address;
  return [
    `port ${port}`,
    `bind ${host}`,
    ...(password === undefined ? [] : [`requirepass ${password}`]),
  ];
}

/** Where a Redis server listens: a unix socket, or a port with the password it asks for. */
export type Address = { path: string } | { host: string; port: number; password?: string };

/**
 * Sends one inline command on a connection of its own and resolves to the first line of its reply, or to
 * the empty text when the server closes without one (as on `SHUTDOWN`). A look before any client exists.
 *
 * @throws the socket's error, or one named after the time limit (`timeoutMs`, milliseconds)
 */
export function ask(address: Address, command: string, timeoutMs: number): Promise<string> {
  const password = "password" in address ? address.password : undefined;
  const lines = password === undefined ? [command] : [`AUTH ${password}`, command];
  return new Promise((resolve, reject) => {
    const socket = createConnection(address);
    let text = "";
    socket.setTimeout(timeoutMs, () => {
      socket.destroy(new Error(`no answer to ${command} within ${timeoutMs} ms`));
    });
    socket.on("connect", () => socket.write(`${lines.join("\r\n")}\r\n`));
    socket.on("data", (chunk) => {
      text += chunk.toString();
      if (text.split("\r\n").length > lines.length) socket.end();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text.split("\r\n")[lines.length - 1] ?? ""));
  });
}

/** The first `redis-server` or `valkey-server` on the PATH, or null. */
export function findRedisServer(path: string): string | null {
  // An empty entry means the working directory, where nobody's program should be started from by accident.
  for (const folder of path.split(delimiter).filter((entry) => entry !== "")) {
    for (const name of ["redis-server", "valkey-server"]) {
      const file = which.sync(name, { nothrow: true, path: folder });
      if (file !== null) return file;
    }
  }
  return null;
}

/** Below those that systems hand out by themselves, to who asks for any port and to who connects to somebody. */
const ownPorts = { first: 20_000, count: 12_000 };

/**
 * A loopback port nobody listens on at the moment, for a program that is told its port: nobody is given it by chance before
 * that program listens, or while it is started again.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = ownPorts.first + randomInt(ownPorts.count);
    const server = createServer().listen(port, "127.0.0.1");
    try {
      await once(server, "listening");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") continue;
      throw error;
    }
    server.close();
    await once(server, "close");
    return port;
  }
}
