import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const mark = /\[([a-z-]+(?:\.[a-z-]+)?)\]/g;
/** A title: a text right after an opening bracket, as in `it("...")` and `it.each(...)("...")`. */
const title = /\(\s*(["'`])(.*?)\1/gms;

/** Which promises each test file says it proves, in the titles of its tests. */
export function readClaims(): { file: string; id: string }[] {
  const files = globSync(["**/*.test.ts", "conformance/store-conformance/*-promises.ts"], {
    cwd: root,
  });
  return files.toSorted().flatMap((file) => {
    const text = readFileSync(join(root, file), "utf8");
    const titles = [...text.matchAll(title)].map(([, , words = ""]) => words);
    return titles.flatMap((words) =>
      [...words.matchAll(mark)].map(([, id = ""]) => ({ file, id })),
    );
  });
}
