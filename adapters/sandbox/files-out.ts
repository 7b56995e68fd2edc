import { PassThrough, type Readable } from "node:stream";
import { readlinkSync } from "node:fs";
import type {
  SandboxFile,
  SandboxOutputs,
  SandboxRun,
} from "../../machines/contracts/ports/sandbox.ts";
import { shellQuote } from "./host-view.ts";

/*
 * How files come out of a box, the same with every driver: when the code has ended, the shell that started it ends all
 * other processes and writes the files on descriptor 3, after the word `started`. Nothing outside ever opens a path that
 * the code made. What is written is taken for the code's own word, which could write it there itself:
 *
 *   file SIZE PATH NUL CONTENT    a regular file, CONTENT of SIZE bytes
 *   left REASON PATH NUL          what is not kept
 *   rest COUNT - NUL              so many more that are not named
 *   end - - NUL                   all was read
 */

/** Of what is left out so many are named. */
const namedLeftOut = 20;
/** Paths and words beside the contents, bytes. */
const spareBytes = 1_048_576;
/** More than a box has a reason to write, be it of 32,768 files with long names. */
const mostRecords = 100_000;

/** The end of a program, in POSIX shell: keeps the exit code of what ran before. */
export function collectScript({ paths, maxFiles, maxBytes }: SandboxOutputs, mark: string): string {
  const wanted = paths.flatMap((path) => {
    const pattern = `./${path.replaceAll(/[*?[\]\\]/gu, "\\$&")}`;
    return [`-path ${shellQuote(pattern)}`, `-path ${shellQuote(`${pattern}/*`)}`];
  });
  const each = `
kept=0; bytes=0; left=0
for at do
  if [ -L "$at" ]; then why=link
  elif [ ! -f "$at" ]; then why=special
  elif [ ! -r "$at" ]; then why=unreadable
  elif [ $kept -ge ${maxFiles} ]; then why=many
  else
    size=$(stat -c %s "$at")
    case $size in ""|*[!0-9]*) why=unreadable ;; *)
      if [ $((bytes + size)) -gt ${maxBytes} ]; then why=large; else
        kept=$((kept + 1)); bytes=$((bytes + size))
        printf "file %s %s\\000" $size "\${at#./}"; head -c $size "$at"; continue
      fi ;;
    esac
  fi
  left=$((left + 1))
  [ $left -gt ${namedLeftOut} ] || printf "left %s %s\\000" $why "\${at#./}"
done
[ $left -le ${namedLeftOut} ] || printf "rest %s -\\000" $((left - ${namedLeftOut}))`;
  const find = `LC_ALL=C find . \\( ${wanted.join(" -o ")} \\) ! -type d -exec sh -c ${shellQuote(each)} sh {} + </dev/null`;
  return `code=$?
cd -P . && ${endOthers()}
${saying(mark, `${find}; printf 'end - -\\000'`)}
exit $code`;
}

/**
 * Ends every process but the shell and the first, so that nobody changes a file while it is read; only where the shell
 * sees that it has a process namespace of its own, because elsewhere these would be the host's.
 */
function endOthers(): string {
  const ours = shellQuote(ownProcessNamespace());
  return `{ here=$(readlink /proc/self/ns/pid); case $here in ${ours}) ;; pid:*) kill -s KILL -- -1 ;; esac; }`;
}

function ownProcessNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}

const reasons = {
  link: () => "it is a symbolic link",
  special: () => "it is neither a file nor a folder",
  unreadable: () => "it could not be read",
  many: ({ maxFiles }) => `at most ${maxFiles} files are kept`,
  large: ({ maxBytes }) => `with it the files would be larger than ${maxBytes} bytes together`,
} satisfies Record<string, (limits: SandboxOutputs) => string>;

export interface CapturedWords {
  /** The first line that the box said. */
  first(): string;
  files(wanted: SandboxOutputs): Required<Pick<SandboxRun, "files" | "leftOut">>;
}

/** What a box says on descriptor 3, between marks where that is a part of standard error. */
export const saying = (mark: string, script: string): string =>
  mark === ""
    ? `{ ${script}; } >&3`
    : `{ printf %s ${mark}; { ${script}; }; printf %s ${mark}; } >&3`;

/** Takes what was said between marks out of standard error. */
export function splitMarked(stream: Readable, mark: string): { stderr: Readable; words: Readable } {
  const parts = [new PassThrough(), new PassThrough()] as const;
  let held: Buffer = Buffer.alloc(0);
  let side: 0 | 1 = 0;
  stream.on("data", (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    for (let at = held.indexOf(mark); at >= 0; at = held.indexOf(mark)) {
      parts[side].write(held.subarray(0, at));
      held = held.subarray(at + mark.length);
      side = side === 0 ? 1 : 0;
    }
    // The beginning of a mark may stand at the end.
    const sure = Math.max(0, held.length - mark.length + 1);
    parts[side].write(held.subarray(0, sure));
    held = held.subarray(sure);
  });
  stream.on("error", () => {});
  stream.on("close", () => {
    parts[side].write(held);
    for (const part of parts) part.end();
  });
  return { stderr: parts[0], words: parts[1] };
}

/** Reads what a box says on descriptor 3; of more than the files may be, the rest is read away. */
export function captureWords(stream: Readable, outputs: SandboxOutputs | undefined): CapturedWords {
  const chunks: Buffer[] = [];
  let room = (outputs?.maxBytes ?? 0) + spareBytes;
  stream.on("data", (chunk: Buffer) => {
    if (room > 0) chunks.push(chunk.subarray(0, room));
    room -= Math.min(room, chunk.length);
  });
  stream.on("error", () => {});
  const split = () => {
    const all = Buffer.concat(chunks);
    const at = all.indexOf("\n");
    return at < 0 ? [all, Buffer.alloc(0)] : [all.subarray(0, at), all.subarray(at + 1)];
  };
  return {
    first: () => (split()[0] ?? "").toString(),
    files: (wanted) => readFiles(split()[1] ?? Buffer.alloc(0), wanted),
  };
}

/** What the bytes tell of files, checked against what was asked for: they may be anything. */
export function readFiles(
  bytes: Buffer,
  wanted: SandboxOutputs,
): Required<Pick<SandboxRun, "files" | "leftOut">> {
  const files = new Map<string, Uint8Array>();
  const leftOut: { path: string; reason: string }[] = [];
  // By their bytes: of names that are no UTF-8 several are the same text.
  const seen = new Set<string>();
  const found = new Set<string>();
  let [total, rest, isWhole] = [0, 0, false];
  for (let at = 0, records = 0; at < bytes.length && !isWhole && records < mostRecords;) {
    records += 1;
    const end = bytes.indexOf(0, at);
    const words = end < 0 ? "" : bytes.subarray(at, end).toString("latin1");
    const [, kind, about = "", name = ""] = /^(\w+) (\S+) ([^]+)$/u.exec(words) ?? [];
    if (kind === undefined) break;
    at = end + 1;
    if (kind === "end") isWhole = true;
    if (kind === "rest" && /^\d{1,6}$/u.test(about)) rest += Number(about);
    const size = kind === "file" ? Number(about) : 0;
    if (kind === "file" && (!/^\d{1,12}$/u.test(about) || at + size > bytes.length)) break;
    const content = bytes.subarray(at, at + size);
    at += size;
    if (kind !== "file" && kind !== "left") continue;
    const path = Buffer.from(name, "latin1").toString();
    const asked = seen.has(name) ? [] : wanted.paths.filter((one) => isWanted(path, one));
    if (asked.length === 0) continue;
    seen.add(name);
    for (const one of asked) found.add(one);
    const why = kind === "left" ? about : reasonAgainst({ files: files.size, total, size }, wanted);
    if (why === null) {
      total += size;
      files.set(unusedName(safeName(path), files), content);
    } else if (Object.hasOwn(reasons, why) && leftOut.length < namedLeftOut) {
      const reason = reasons[why as keyof typeof reasons](wanted);
      leftOut.push({ path: safeName(path), reason });
    } else rest += 1;
  }
  if (rest > 0) leftOut.push({ path: "", reason: `${rest} more are not named` });
  for (const path of wanted.paths) {
    if (rest > 0 || found.has(path)) continue;
    leftOut.push({ path, reason: isWhole ? "no such file was there" : unread });
  }
  if (!isWhole && seen.size > 0) leftOut.push({ path: "", reason: unread });
  const kept = [...files].map(([path, content]): SandboxFile => ({ path, content }));
  return { files: kept.toSorted((a, b) => (a.path < b.path ? -1 : 1)), leftOut };
}

const unread = "the run ended before all files were read";

function reasonAgainst(
  { files, total, size }: { files: number; total: number; size: number },
  { maxFiles, maxBytes }: SandboxOutputs,
): "many" | "large" | null {
  if (files >= maxFiles) return "many";
  return total + size > maxBytes ? "large" : null;
}

function isWanted(path: string, wanted: string): boolean {
  if (path !== wanted && !path.startsWith(`${wanted}/`)) return false;
  return !path.split("/").some((part) => part === "" || part === "." || part === "..");
}

/** Without what a terminal obeys, what turns the direction of writing, and what was no UTF-8. */
function safeName(path: string): string {
  return path
    .replaceAll(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}\uFFFD\\]/gu, "_")
    .slice(0, 1024)
    .toWellFormed();
}

function unusedName(name: string, taken: ReadonlyMap<string, unknown>): string {
  for (let number = 2, free = name; ; number += 1) {
    if (!taken.has(free)) return free;
    free = `${name}~${number}`;
  }
}
