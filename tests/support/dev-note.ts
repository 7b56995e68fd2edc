import { readFileSync } from "node:fs";
import { join } from "node:path";

type Note = Record<string, unknown>;
const read = (file: string) => JSON.parse(readFileSync(file, "utf8")) as Note;

/** What a running `dev` shows in the folder that it runs in: no key, but the file that has it (`keyIn`). */
export const shownDevNote = (folder: string): Note => read(join(folder, ".stateplane", "dev.json"));

/** What it keeps for the other commands, its key included. */
export const keptDevNote = (folder: string): Note => read(String(shownDevNote(folder)["keyIn"]));
