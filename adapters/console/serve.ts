import { readdirSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { extname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { inspectStyle } from "./inspect-style.ts";
import { style } from "./style.ts";

export interface ConsoleOptions {
  /** Definitions of machines as XState has them, by name: the page draws its charts from them. */
  machines: Readonly<Record<string, object>>;
  /** Which of the pages stands at the root; the console's own where it is left out. */
  page?: "main" | "inspect";
}

/** Stately Inspector's page, which the inspector can hand on to. */
const stately = "https://stately.ai";

/**
 * The console: a page that looks at a control plane, and answers its questions, through the HTTP API of that plane alone.
 *
 * Its own modules are the files of `page/`, and the libraries it stands on are served out of node_modules as they are:
 * nothing is bundled. From a source tree the modules are TypeScript, whose types are blanked out as they are served.
 * Everything here is public, the same for everybody: what a plane knows comes with a key, over the API.
 */
export function createConsole({
  machines,
  page = "main",
}: ConsoleOptions): (request: Request) => Response | null {
  const kept = new Map<string, { type: string; text: string }>();
  return (request) => {
    if (request.method !== "GET" && request.method !== "HEAD") return null;
    const { pathname } = new URL(request.url);
    if (pathname !== "/" && pathname !== "/stately" && !pathname.startsWith("/console/"))
      return null;
    const found = kept.get(pathname) ?? find(pathname, machines, page);
    if (found === null) return null;
    kept.set(pathname, found);
    const headers = {
      ...(pathname === "/stately" ? framing : safety),
      "content-type": found.type,
      "cache-control": "no-cache",
    };
    return new Response(request.method === "HEAD" ? null : found.text, { headers });
  };
}

/** Nothing but our own files runs, styles or is spoken to; nobody frames the page; no address of it leaves it. */
const safety = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; "),
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
} as const;

/** Of the one page that shows another's. */
const framing = {
  ...safety,
  "content-security-policy": safety["content-security-policy"].replace(
    "img-src",
    `frame-src ${stately}; img-src`,
  ),
};

const script = "text/javascript; charset=utf-8";
/** `.ts` in a source tree, `.js` where this was compiled. */
const own = extname(import.meta.filename);
const pageFolder = join(import.meta.dirname, "page");

const htmlOf = (page: string) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Stateplane</title>
<link rel="icon" href="/console/icon.svg">
<link rel="stylesheet" href="/console/style.css">${page === "inspect" ? `<link rel="stylesheet" href="/console/inspect.css">` : ""}
<script type="module" src="/console/page/${page}${own}"></script>
<body><div id="page"></div><noscript>The console needs JavaScript. The command line does all it does: stateplane --help</noscript></body>
</html>
`;

const statelyHtml = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Stately Inspector · Stateplane</title>
<link rel="icon" href="/console/icon.svg">
<link rel="stylesheet" href="/console/style.css"><link rel="stylesheet" href="/console/inspect.css">
<script type="module" src="/console/page/inspect-stately${own}"></script>
<body><main id="page" class="sign-in">
<h1>Stately Inspector</h1>
<p>It is a page of stately.ai, shown here in a frame. What happens in this worker is handed to it, contexts included, within this browser; what it does with that is Stately's to say. Secrets that are known as such are taken out before.</p>
<p><button type="button" class="main" hidden>Open Stately Inspector</button> <a href="/">Back to the inspector</a></p>
</main></body>
</html>
`;

const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect x="1" y="1" width="14" height="14" rx="4" fill="#3b5bdb"/><path d="M4 6h5M7 10h5" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>`;

function find(path: string, machines: ConsoleOptions["machines"], page: string) {
  if (path === "/") return { type: "text/html; charset=utf-8", text: htmlOf(page) };
  if (path === "/stately" && page === "inspect")
    return { type: "text/html; charset=utf-8", text: statelyHtml };
  if (path === "/console/inspect.css")
    return { type: "text/css; charset=utf-8", text: inspectStyle };
  if (path === "/console/style.css") return { type: "text/css; charset=utf-8", text: style };
  if (path === "/console/icon.svg") return { type: "image/svg+xml", text: icon };
  const [, kind = "", rest = ""] = /^\/console\/(page|modules|machines)\/(.+)$/.exec(path) ?? [];
  if (kind === "page") return ofPage(rest);
  if (kind === "modules") return ofLibrary(rest);
  const name = rest.replace(/\.json$/, "");
  if (kind !== "machines" || !Object.hasOwn(machines, name)) return null;
  return { type: "application/json", text: JSON.stringify(machines[name]) };
}

function ofPage(name: string) {
  if (extname(name) !== own || !readdirSync(pageFolder).includes(name)) return null;
  const text = readFileSync(join(pageFolder, name), "utf8");
  return { type: script, text: pointed(own === ".ts" ? untyped(text) : text) };
}

/** Node says at the first time that this is experimental; it is done in source trees alone. */
function untyped(text: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return stripTypeScriptTypes(text);
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** What the page imports by name. */
const libraries = ["preact", "preact/hooks", "htm", "@dagrejs/dagre", "diff", "eventsource-parser"];

/** A module of a library, by the library's name and the path in its folder; it may import its neighbours there. */
function ofLibrary(path: string) {
  const name = packageOf(path);
  // One path a module: what was answered is kept by it.
  const isPlain = /^[\w@-][\w.@/-]*\.m?js$/.test(path) && posix.normalize(path) === path;
  if (!libraries.includes(name) || !isPlain || path.includes("..")) return null;
  try {
    const text = readFileSync(join(folderOf(name), path.slice(name.length + 1)), "utf8");
    return { type: script, text: pointed(text) };
  } catch {
    return null;
  }
}

const packageOf = (specifier: string): string =>
  specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");

/** A library's entry as a file; its folder is the last of this name on the way, wherever npm put it. */
const entryOf = (specifier: string): string => fileURLToPath(import.meta.resolve(specifier));
function folderOf(name: string): string {
  const entry = entryOf(name).replaceAll("\\", "/");
  const mark = `/node_modules/${name}/`;
  return entry.slice(0, entry.lastIndexOf(mark) + mark.length);
}

/** A browser resolves no bare names: those of our libraries become addresses. Source maps are not served. */
function pointed(text: string): string {
  return text
    .replaceAll(/\b(from|import)(\s*\(?\s*)"([^".][^"]*)"/g, (whole, word, gap, specifier) => {
      if (!libraries.includes(specifier)) return whole;
      const name = packageOf(specifier);
      const file = entryOf(specifier).replaceAll("\\", "/").slice(folderOf(name).length);
      return `${word}${gap}"/console/modules/${name}/${file}"`;
    })
    .replaceAll(/^\/\/# sourceMappingURL=.*$/gm, "");
}
