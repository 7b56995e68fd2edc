import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { DatabaseSync } from "node:sqlite";
import { type } from "arktype";
import { StoreUnreachable } from "../../machines/contracts/domain/errors.ts";
import { isAlive, noteProcess, processNote, type ProcessNote } from "./living-process.ts";
import { makePrivateFolder, replacePrivateFile } from "./private-files.ts";
import {
  type Address,
  ask,
  findRedisServer,
  freePort,
  startRedisProcess,
} from "./redis-process.ts";

/** How long another program may take to start the server, or a stopping server to end. */
const patienceMs = 20_000;
/** A unix socket's path, with its closing zero, has 104 bytes on macOS and 108 on Linux. */
const longestSocketPath = 103;

export interface PrivateRedis {
  url: string;
  /** Ends the server if it is this program's to end. */
  stop(): Promise<void>;
}

/**
 * A Redis or Valkey of our own with its data in `directory`, reached over a unix socket that only this user
 * may open; where the path is too long for one, over a loopback port with a password. Of several programs in
 * one directory the first starts the server and ends it; the others join it, and wait for its return when it
 * has gone. A server whose starter died is taken over by the next that joins.
 *
 * @throws StoreUnreachable when there is no server on the PATH, or it does not start or answer
 */
export async function startPrivateRedis(options: { directory: string }): Promise<PrivateRedis> {
  const directory = resolve(options.directory);
  const binary = findRedisServer(process.env["PATH"] ?? "");
  if (binary === null) {
    throw new StoreUnreachable("redis-server or valkey-server", "not found on the PATH");
  }
  await makePrivateFolder(directory);
  const found = await aloneIn(
    directory,
    patienceMs,
    async () => (await joinRunning(directory)) ?? (await start(binary, directory)),
  );
  if (found === undefined) {
    const reason = `another program was still starting it after ${patienceMs} ms`;
    throw new StoreUnreachable(`the Redis server in ${directory}`, reason);
  }
  return found;
}

/** The server that already runs in the directory, or null. */
async function joinRunning(directory: string): Promise<PrivateRedis | null> {
  const note = await readServerNote(directory);
  if (note === null || !(await answers(note.address, directory))) return null;
  const url = urlOf(note.address);
  if (isAlive(note.owner)) return { url, stop: async () => {} };
  await writeServerNote(directory, { ...note, owner: noteProcess(process.pid) });
  // It is not our child; the reply to SHUTDOWN is the end of the connection.
  const shutDown = () => ask(note.address, "SHUTDOWN NOSAVE", patienceMs).catch(() => "");
  return { url, stop: () => stopAlone(directory, shutDown) };
}

async function start(binary: string, directory: string): Promise<PrivateRedis> {
  const address = await chooseAddress(directory);
  // Before the start: a server whose starter dies here is still found by the next.
  await writeServerNote(directory, { owner: noteProcess(process.pid), address });
  const server = await startRedisProcess(binary, directory, address);
  return { url: urlOf(address), stop: () => stopAlone(directory, server.stop) };
}

/** An ending server removes its socket: nobody may start the next one before it has. */
async function stopAlone(directory: string, stop: () => Promise<unknown>): Promise<void> {
  let stopping: Promise<unknown> | null = null;
  const once = () => (stopping ??= stop());
  await aloneIn(directory, patienceMs, once);
  await once();
}

/** Whether our server listens there. One that loads its data is waited for. */
async function answers(address: Address, directory: string): Promise<boolean> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const reply = await ask(address, "PING", 2_000).catch((error: NodeJS.ErrnoException) => error);
    if (reply === "+PONG") return true;
    // Nobody listens, or a stranger does who got the port meanwhile.
    if (reply instanceof Error ? reply.code !== undefined : !reply.startsWith("-LOADING")) {
      return false;
    }
    if (Date.now() > deadline) {
      throw new StoreUnreachable(`the Redis server in ${directory}`, "it runs but does not answer");
    }
    await sleep(50);
  }
}

async function chooseAddress(directory: string): Promise<Address> {
  const path = join(directory, "redis.sock");
  if (Buffer.byteLength(path) <= longestSocketPath) return { path };
  const password = randomBytes(24).toString("hex");
  return { host: "127.0.0.1", port: await freePort(), password };
}

function urlOf(address: Address): string {
  if ("path" in address) return `unix://${pathToFileURL(address.path).pathname}`;
  return `redis://:${address.password ?? ""}@${address.host}:${address.port}`;
}

const note = type({
  /** The process that will stop the server. */
  owner: processNote(),
  address: type({ path: "string" }).or({ host: "string", port: "number", password: "string" }),
});

/** What a private server's directory says of it: who stops it, and where it listens. */
export interface ServerNote {
  owner: ProcessNote;
  address: Address;
}

/** Null where there is none, or none that can be read. */
export async function readServerNote(directory: string): Promise<ServerNote | null> {
  try {
    const read = note(JSON.parse(await readFile(fileIn(directory), "utf8")));
    return read instanceof type.errors ? null : read;
  } catch {
    return null;
  }
}

/** Readable by its owner alone: it may hold a password. */
export async function writeServerNote(directory: string, written: ServerNote): Promise<void> {
  await replacePrivateFile(fileIn(directory), JSON.stringify(written));
}

const fileIn = (directory: string) => join(directory, "server.json");

/**
 * Runs `work` alone among all programs that use `directory`. The lock is SQLite's, since that one is the
 * operating system's: it goes with the process that held it, however that ended.
 *
 * @returns what `work` returned, or undefined when the lock was not free within `waitMs`
 */
export async function aloneIn<T>(
  directory: string,
  waitMs: number,
  work: () => Promise<T>,
): Promise<T | undefined> {
  const database = new DatabaseSync(join(directory, "starting.lock"), { timeout: 0 });
  try {
    const deadline = Date.now() + waitMs;
    while (!taken(database, directory)) {
      if (Date.now() > deadline) return undefined;
      await sleep(20);
    }
    return await work();
  } finally {
    database.close();
  }
}

const sqliteBusy = 5;

/** @throws StoreUnreachable where what keeps us from it is no other program: a full disk, say */
function taken(database: DatabaseSync, directory: string): boolean {
  try {
    database.exec("BEGIN EXCLUSIVE");
    return true;
  } catch (error) {
    const { errcode = 0, message } = error as Error & { errcode?: number };
    // The low byte is the kind; the rest tells its cases apart.
    if ((errcode & 0xff) === sqliteBusy) return false;
    throw new StoreUnreachable(`the folder ${directory}`, message);
  }
}
