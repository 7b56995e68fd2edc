/** A piece of a document as it is found: bounded, and cut where the document's own structure allows it. */
export interface Chunk {
  content: string;
  /** The headings above it, outermost first. */
  headings: readonly string[];
  /** Its first and last line in the file, from 1; of a PDF in the page's text. */
  line: number;
  endLine: number;
  /** Of a PDF, from 1. */
  page?: number;
}

/** Lines that belong together: a paragraph, a fenced block, a function. */
interface Block {
  lines: string[];
  line: number;
  headings: readonly string[];
}

export type DocumentKind = "markdown" | "code" | "text" | "pdf";

/** What a chunk repeats of the one before it, where a paragraph or function had to be cut: one part in so many. */
const overlapPart = 8;

/**
 * A document in chunks of at most `bound` characters each: sections of Markdown are never mixed, functions and
 * paragraphs stay whole where they fit, and short ones that stand together make one chunk.
 */
export function chunksOf(text: string, kind: DocumentKind, bound: number): Chunk[] {
  const lines = text.split(/\r\n|\n|\r/u);
  if (kind === "markdown") return pack(markdownBlocks(lines), bound);
  return pack(kind === "code" ? codeBlocks(lines) : paragraphs(lines), bound);
}

/** The same of a PDF, whose pages are never mixed. */
export function chunksOfPages(pages: readonly string[], bound: number): Chunk[] {
  return pages.flatMap((text, at) =>
    chunksOf(text, "text", bound).map((chunk) => ({ ...chunk, page: at + 1 })),
  );
}

const isBlank = (line: string) => line.trim() === "";

function paragraphs(lines: readonly string[]): Block[] {
  return blocksBetween(lines, (at) => isBlank(lines[at] ?? ""));
}

/** Whatever begins at the margin after a blank line: a function, a class, a declaration with its comment. */
function codeBlocks(lines: readonly string[]): Block[] {
  const isEnd = (at: number) => isBlank(lines[at] ?? "") && /^\S/u.test(lines[at + 1] ?? "");
  return blocksBetween(lines, isEnd);
}

function blocksBetween(lines: readonly string[], isEnd: (at: number) => boolean): Block[] {
  const blocks: Block[] = [];
  let block: Block | null = null;
  for (const [at, line] of lines.entries()) {
    if (isEnd(at)) block = null;
    else if (block !== null) block.lines.push(line);
    else if (!isBlank(line)) blocks.push((block = { lines: [line], line: at + 1, headings: [] }));
  }
  return blocks;
}

const fence = /^ {0,3}(`{3,}|~{3,})/u;
const heading = /^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$/u;

/** CommonMark as far as it says where sections, fenced blocks and paragraphs begin. */
function markdownBlocks(lines: readonly string[]): Block[] {
  const blocks: Block[] = [];
  let path: string[] = [];
  let block: Block | null = null;
  /** The fence that closes the block, or null outside of one. */
  let open: string | null = null;
  /** The last heading, with the number of blocks before it. */
  let last: { level: number; count: number; block: Block } | null = null;
  /** A section without a text is found by its title, unless a section in it names it. */
  const leave = (next: number) => {
    if (last !== null && last.level >= next && last.count === blocks.length)
      blocks.push(last.block);
  };
  const enter = (level: number, title: string, line: number) => {
    leave(level);
    const untold = { lines: [title], line, headings: path.slice(0, level - 1) };
    last = { level, count: blocks.length, block: untold };
    // A level that is left out (# and then ###) has no title.
    path = [...path.slice(0, level - 1), title].filter((one) => one !== "");
    block = null;
  };
  for (const [at, line] of lines.entries()) {
    const [, mark = null] = fence.exec(line) ?? [];
    const [, level, title] = open === null ? (heading.exec(line) ?? []) : [];
    const before: Block | null = block;
    const underline = open === null ? /^ {0,3}(=+|-+)[ \t]*$/u.exec(line)?.[1] : undefined;
    if (level !== undefined) enter(level.length, title ?? "", at + 1);
    else if (underline !== undefined && isTitle(before, at)) {
      // The paragraph was a heading, underlined.
      blocks.pop();
      enter(underline.startsWith("=") ? 1 : 2, before?.lines[0]?.trim() ?? "", at);
    } else if (open === null && isBlank(line)) block = null;
    else {
      if (block === null) blocks.push((block = { lines: [], line: at + 1, headings: path }));
      block.lines.push(line);
      if (open === null) open = mark;
      else if (mark !== null && mark.startsWith(open)) [open, block] = [null, null];
    }
  }
  leave(1);
  return blocks;
}

const isTitle = (block: Block | null, at: number): boolean =>
  block?.lines.length === 1 &&
  block.line === at &&
  !/^ {0,3}[-*+>|]|^ {4}/u.test(block.lines[0] ?? "");

function pack(blocks: readonly Block[], bound: number): Chunk[] {
  const chunks: Chunk[] = [];
  let open: Chunk | null = null;
  for (const block of blocks) {
    for (const piece of piecesOf(block, bound)) {
      const joined: string | null =
        open !== null && open.headings === block.headings && !piece.isCut
          ? `${open.content}\n\n${piece.content}`
          : null;
      if (open !== null && joined !== null && joined.length <= bound) {
        open.content = joined;
        open.endLine = piece.endLine;
      } else {
        const { content, line, endLine } = piece;
        chunks.push((open = { content, headings: block.headings, line, endLine }));
      }
    }
  }
  return chunks.filter(({ content }) => !isBlank(content));
}

interface Piece {
  content: string;
  line: number;
  endLine: number;
  /** Whether it goes on with what the piece before it begins. */
  isCut: boolean;
}

/** A block whole where it fits; else cut between lines, and a line that is too long between words. */
function piecesOf({ lines, line }: Block, bound: number): Piece[] {
  const whole = lines.join("\n").trimEnd();
  if (whole.length <= bound) {
    return [{ content: whole, line, endLine: line + whole.split("\n").length - 1, isCut: false }];
  }
  const overlap = Math.floor(bound / overlapPart);
  const room = bound - overlap - 1;
  const pieces: Piece[] = [];
  let open: Piece | null = null;
  for (const [at, text] of lines.entries()) {
    for (const part of partsOf(text, room)) {
      const longer: string | null = open === null ? null : `${open.content}\n${part}`;
      if (open !== null && longer !== null && longer.length <= bound) {
        open.content = longer;
        open.endLine = line + at;
        continue;
      }
      const tail: string = open === null ? "" : tailOf(open.content, overlap);
      const content: string = tail === "" ? part : `${tail}\n${part}`;
      pieces.push((open = { content, line: line + at, endLine: line + at, isCut: open !== null }));
    }
  }
  return pieces;
}

/** A line in parts, cut behind a sentence, else a word, else a character. */
function partsOf(line: string, room: number): string[] {
  const parts: string[] = [];
  let rest = line;
  while (rest.length > room) {
    const start = rest.slice(0, room);
    const sentence = Math.max(start.lastIndexOf(". "), start.lastIndexOf("。"));
    const word = start.lastIndexOf(" ");
    const isPair = (rest.codePointAt(room - 1) ?? 0) > 0xffff;
    const end = sentence > room / 2 ? sentence + 1 : word > 0 ? word : isPair ? room - 1 : room;
    parts.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return rest === "" && parts.length > 0 ? parts : [...parts, rest];
}

/** The last words of a text, from the beginning of one of them. */
function tailOf(text: string, length: number): string {
  const tail = text.slice(-length);
  const start = tail.search(/\s/u);
  return start < 0 ? "" : tail.slice(start).trim();
}
