import { createHash } from "node:crypto";
import { existsSync, realpathSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { type } from "arktype";
import { once } from "../machines/contracts/domain/once.ts";
import { isAlive, noteProcess, processNote } from "../adapters/redis/living-process.ts";
import { makePrivateFolder, replacePrivateFile } from "../adapters/redis/private-files.ts";
import { makeDataDir } from "./data-folder.ts";

const shape = once(() =>
  processNote().and({
    url: "string",
    apiKey: "string",
    store: "'redis' | 'private-redis' | 'sqlite'",
  }),
);
/** What a running `stateplane dev` leaves for the other commands of its folder. */
export type DevNote = ReturnType<typeof shape>["infer"];

/*
 * Two files. What is in the data folder is in the project, where an agent's file tools read and write: it says where
 * `dev` listens, and holds no key. The key, and the address that it is sent to, are in a folder of this user's own,
 * outside of every project, under a name that is made of the data folder's path. The other commands go by that one
 * alone; where no such folder can be made, both are the one in the data folder.
 */
export const shownFile = (dataDir: string) => join(dataDir, "dev.json");

function keptFile(dataDir: string): string {
  const whole = resolve(dataDir);
  const name = createHash("sha256").update(realOf(whole)).digest("hex").slice(0, 32);
  return join(ownFolder(), `dev-${name}.json`);
}

/** In memory where the system has such a folder, as systemd gives each user one. */
function ownFolder(): string {
  const { XDG_RUNTIME_DIR: runtime = "", XDG_STATE_HOME: state = "" } = process.env;
  const folder = [runtime, state].find((path) => isAbsolute(path));
  return join(folder ?? join(homedir(), ".local", "state"), "stateplane");
}

function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** Writes the note for this user alone; returns the file that holds the key. */
export async function writeDevNote(
  dataDir: string,
  about: Omit<DevNote, "pid" | "started">,
): Promise<string> {
  const note: DevNote = { ...noteProcess(process.pid), ...about };
  const written = (shown: object) => `${JSON.stringify(shown, null, 2)}\n`;
  await makeDataDir(dataDir);
  const file = keptFile(dataDir);
  try {
    await makePrivateFolder(ownFolder());
    await replacePrivateFile(file, written(note));
  } catch {
    await replacePrivateFile(shownFile(dataDir), written(note));
    return shownFile(dataDir);
  }
  const { apiKey: _, ...shown } = note;
  await replacePrivateFile(shownFile(dataDir), written({ ...shown, keyIn: file }));
  return file;
}

/** The note of a program that is still there; null for none, a stale one or one that can't be read. */
export async function readDevNote(dataDir: string): Promise<DevNote | null> {
  // One in the project, which anybody there may have written, is believed where there can be no other.
  return read(existsSync(ownFolder()) ? keptFile(dataDir) : shownFile(dataDir));
}

async function read(file: string): Promise<DevNote | null> {
  const text = await readFile(file, "utf8").catch(() => null);
  if (text === null) return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return null;
  }
  const note = shape()(parsed);
  return note instanceof type.errors || !isAlive(note) ? null : note;
}

/** Takes the note away, if it is still this program's. */
export async function removeDevNote(dataDir: string): Promise<void> {
  const note = await readDevNote(dataDir);
  if (note?.pid !== process.pid) return;
  await Promise.all(
    [keptFile(dataDir), shownFile(dataDir)].map((file) => rm(file, { force: true })),
  );
}
