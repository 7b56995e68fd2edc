import { StringDecoder } from "node:string_decoder";

/**
 * Lines of a stream, read by hand: a line of any length is in memory up to a limit and no further. Past it the rest
 * of the line is thrown away (`cut`), or the stream is given up (`refuse`).
 */
export class BoundedLines {
  readonly #limit: number;
  readonly #past: "cut" | "refuse";
  readonly #decoder = new StringDecoder("utf8");
  #parts: string[] = [];
  #length = 0;

  constructor(limit: number, past: "cut" | "refuse") {
    this.#limit = limit;
    this.#past = past;
  }

  /** @throws RangeError past the limit, where that is refused */
  read(chunk: Buffer): string[] {
    const [first = "", ...more] = this.#decoder.write(chunk).split("\n");
    this.#add(first);
    const lines: string[] = [];
    for (const text of more) {
      lines.push(this.#parts.join(""));
      this.#parts = [];
      this.#length = 0;
      this.#add(text);
    }
    return lines;
  }

  #add(text: string): void {
    const room = this.#limit - this.#length;
    if (text.length > room && this.#past === "refuse") {
      throw new RangeError(`a line is longer than ${this.#limit} characters`);
    }
    if (room <= 0 || text === "") return;
    this.#parts.push(text.slice(0, room));
    this.#length += Math.min(text.length, room);
  }
}

const keyBegins = /-----BEGIN [A-Z ]{0,40}PRIVATE KEY/u;
const keyEnds = /-----END [A-Z ]{0,40}PRIVATE KEY/u;
/** A private key of 16,384 bits has some 200 lines in PEM. */
const mostLinesOfKey = 250;

/**
 * Lines for a log that takes secrets out of each by itself. A part of a secret looks like none: so the lines of a private
 * key after its first one are left out, and so is the word that a line was cut in.
 */
export class WithoutParts {
  readonly #limit: number;
  /** How many more lines may belong to a key. */
  #left = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  read(line: string): string {
    if (this.#left > 0) {
      this.#left = keyEnds.test(line) ? 0 : this.#left - 1;
      return "";
    }
    if (keyBegins.test(line) && !keyEnds.test(line)) this.#left = mostLinesOfKey;
    return line.length < this.#limit ? line : line.replace(/(?<!\S)\S{1,500}$/u, "…");
  }
}
