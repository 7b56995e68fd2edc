/**
 * Whether a text is what a pattern says: `*` stands for any characters, `?` for one, everything else for itself. In
 * time that is bounded by the product of both lengths, since patterns and texts may both come from others.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  const wanted = [...pattern];
  const given = [...text];
  let at = 0;
  /** Where to go on when it does not fit: after the last `*`, with one more character left to that. */
  let star = -1;
  let tried = 0;
  for (let here = 0; here < given.length;) {
    if (wanted[at] === "*") {
      star = at;
      tried = here;
      at += 1;
    } else if (at < wanted.length && (wanted[at] === "?" || wanted[at] === given[here])) {
      at += 1;
      here += 1;
    } else if (star >= 0) {
      at = star + 1;
      tried += 1;
      here = tried;
    } else return false;
  }
  while (wanted[at] === "*") at += 1;
  return at === wanted.length;
}
