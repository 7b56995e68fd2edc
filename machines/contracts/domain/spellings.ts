import { matchesGlob } from "./glob.ts";

/**
 * A list compares texts, and the tool that is called reads them in its own way: `docs//a`, `docs/x/../a`, `DOCS/A` and
 * `docs%2Fa` may all be the file `docs/a`. So a text is judged as it stands and as such a reader may take it; where
 * the two differ, nothing is sure. Nobody's file system or server is imitated here: what one of them may do is enough
 * to be unsure.
 */
export type Match = "yes" | "no" | "unknown";

/** Whether a text is what a pattern says, whichever way its reader spells it. */
export function matchesSpelled(pattern: string, text: string): Match {
  const literal = matchesGlob(pattern, text);
  const wanted = joinSlashes(fold(pattern));
  const read = spellings(text).map((spelling) => matchesPath(wanted, spelling));
  const said = new Set<Match>([literal ? "yes" : "no", ...read]);
  return said.size === 1 ? (literal ? "yes" : "no") : "unknown";
}

/** Without what compares as equal somewhere: case, forms of the same character. */
const fold = (text: string) => text.normalize("NFKC").toLowerCase();

const joinSlashes = (text: string) => text.replaceAll(/\/{2,}/gu, "/");

/** What a path leads to, its dot segments followed; what leads out of where it begins still says so. */
function tidy(text: string): string {
  const isAbsolute = text.startsWith("/");
  const segments: string[] = [];
  for (const part of text.split("/")) {
    // Blanks and dots at a name's end are dropped by some systems.
    const segment = part.trim().replace(/(?<=[^.\s])[.\s]+$/u, "");
    if (segment === "" || segment === ".") continue;
    if (segment !== "..") segments.push(segment);
    else if (segments.length > 0 && segments.at(-1) !== "..") segments.pop();
    else if (!isAbsolute) segments.push(segment);
  }
  return (isAbsolute ? "/" : "") + segments.join("/");
}

/** As programs read a text: up to a NUL, without blanks around it; as a path; as a URL's or another system's path. */
function spellings(text: string): string[] {
  const [whole = ""] = fold(text).split("\0", 1);
  const plain = whole.trim();
  const decoded = decode(plain).replaceAll("\\", "/");
  return [...new Set([tidy(plain), tidy(decoded)])];
}

/** Percent signs may be read more than once on the way. */
function decode(text: string): string {
  let read = text;
  for (let times = 0; times < 3 && read.includes("%"); times += 1) {
    read = read.replaceAll(/(?:%[0-9a-f]{2})+/gu, (run) => {
      try {
        return fold(decodeURIComponent(run));
      } catch {
        return run;
      }
    });
  }
  return read;
}

function matchesPath(pattern: string, path: string): Match {
  const hasPlace = pattern.includes("/");
  if (hasPlace && (path === ".." || path.startsWith("../"))) return "unknown";
  // `docs/` stands for what `docs` does.
  if (matchesGlob(pattern, path) || matchesGlob(pattern, `${path}/`)) return "yes";
  const isAbsolute = path.startsWith("/");
  if (!hasPlace || pattern.startsWith("/") === isAbsolute) return "no";
  // Where one begins at the root and the other somewhere, they may meet.
  const mayMeet = isAbsolute
    ? matchesGlob(`*/${pattern}`, path)
    : ends(pattern).some((end) => matchesGlob(end, path));
  return mayMeet ? "unknown" : "no";
}

/** The ends of a path pattern that say something: `b/*.pem` and `*.pem` of `/a/b/*.pem`, but not `*` of `/a/*`. */
function ends(pattern: string): string[] {
  const segments = pattern.split("/");
  return segments
    .map((_, index) => segments.slice(index).join("/"))
    .filter((end) => /[^*?/]/u.test(end));
}
