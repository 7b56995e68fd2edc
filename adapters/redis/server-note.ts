import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DatabaseSync } from "node:sqlite";
import { type } from "arktype";
import { StoreUnreachable } from "../../machines/contracts/domain/errors.ts";
import { processNote, type ProcessNote } from "./living-process.ts";
import { replacePrivateFile } from "./private-files.ts";
import type { Address } from "./redis-process.ts";

const note = type({
  /** The process that keeps the server running, and will stop it. */
  owner: processNote(),
  address: type({ path: "string" }).or({ host: "string", port: "number", password: "string" }),
});

/** What a private server's directory says of it: who keeps it, and where it listens. */
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

/** For when the server was stopped by its owner: nobody keeps it any more. */
export async function removeServerNote(directory: string): Promise<void> {
  await rm(fileIn(directory), { force: true });
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
