import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type } from "arktype";
import type { Address } from "./ask.ts";

const note = type({
  /** The process that will stop the server. */
  owner: "number.integer > 0",
  address: type({ path: "string" }).or({ host: "string", port: "number", password: "string" }),
});

/** What a private server's directory says of it: who stops it, and where it listens. */
export interface ServerNote {
  owner: number;
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
  await writeFile(fileIn(directory), JSON.stringify(written), { mode: 0o600 });
}

const fileIn = (directory: string) => join(directory, "server.json");
