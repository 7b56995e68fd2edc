/**
 * What is wrong with the paths of a run's files, or null. A path is relative, plain and inside the working
 * directory. Symlinks can't play a part: every file is written by the sandboxed user into an empty folder.
 */
export function fileProblem(paths: readonly string[], codeFile: string): string | null {
  const known = new Set(paths);
  for (const path of paths) {
    const wrong = pathProblem(path) ?? placeProblem(path, known, codeFile);
    if (wrong !== null) return `sandbox file ${JSON.stringify(path.slice(0, 200))}: ${wrong}`;
  }
  return null;
}

function pathProblem(path: string): string | null {
  if (path === "") return "expected a path, found nothing";
  if (path.includes("\0")) return "the path has a NUL in it";
  if (path.startsWith("/")) return "expected a relative path, found an absolute one";
  if (path.length > 1024) return "the path is longer than 1024 characters";
  const parts = path.split("/");
  if (parts.includes("..")) return "the path leaves the working directory";
  return parts.includes("") || parts.includes(".")
    ? "expected plain names between single slashes"
    : null;
}

function placeProblem(path: string, known: Set<string>, codeFile: string): string | null {
  if (path === codeFile || path.startsWith(`${codeFile}/`)) return "the code itself stands there";
  const parts = path.split("/");
  const folders = parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
  return folders.some((folder) => known.has(folder))
    ? "one of its folders is given as a file"
    : null;
}
