import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type } from "arktype";
import { isAlive, noteProcess, processNote } from "../adapters/redis/living-process.ts";
import { makePrivateFolder, replacePrivateFile } from "../adapters/redis/private-files.ts";

const shape = processNote.and({
  url: "string",
  apiKey: "string",
  store: "'redis' | 'private-redis' | 'sqlite'",
});
/** What a running `stateplane dev` leaves for the other commands of its folder. */
export type DevNote = typeof shape.infer;

const fileIn = (dataDir: string) => join(dataDir, "dev.json");

/** Writes the note for this user alone: it holds the key. */
export async function writeDevNote(
  dataDir: string,
  about: Omit<DevNote, "pid" | "started">,
): Promise<string> {
  const note: DevNote = { ...noteProcess(process.pid), ...about };
  const file = fileIn(dataDir);
  await makePrivateFolder(dataDir);
  await replacePrivateFile(file, `${JSON.stringify(note, null, 2)}\n`);
  return file;
}

/** The note of a program that is still there; null for none, a stale one or one that can't be read. */
export async function readDevNote(dataDir: string): Promise<DevNote | null> {
  const text = await readFile(fileIn(dataDir), "utf8").catch(() => null);
  if (text === null) return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return null;
  }
  const note = shape(parsed);
  return note instanceof type.errors || !isAlive(note) ? null : note;
}

/** Takes the note away, if it is still this program's. */
export async function removeDevNote(dataDir: string): Promise<void> {
  const note = await readDevNote(dataDir);
  if (note?.pid === process.pid) await rm(fileIn(dataDir), { force: true });
}
