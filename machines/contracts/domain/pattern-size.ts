/** More than this often the engine repeats nothing: it refuses such a pattern at once, and nothing is compiled. */
const mostRepeated = 1_000;
/** What a class of Unicode's stands for in many ranges, in characters. */
const classSize = 5;
const token =
  /\\[pP]\{[^}]*\}|\\[\s\S]|\[\^?\]?(?:\\[\s\S]|[^\]\\])*\]?|\{(\d+)(?:(,)(\d*))?\}|[\s\S]/gu;

/**
 * How many characters a pattern is with its repetitions written out, since so it is compiled: `(a{100}){100}` is
 * 10,000. An estimate from above, whose cost is one look at the pattern.
 */
export function patternSize(pattern: string): number {
  const open: { sum: number; last: number }[] = [];
  let [sum, last] = [0, 0];
  for (const [text, least, , most] of pattern.matchAll(token)) {
    if (text === "(") {
      open.push({ sum, last });
      [sum, last] = [0, 0];
    } else if (text === ")") {
      const size = sum + 1;
      ({ sum, last } = open.pop() ?? { sum: 0, last: 0 });
      sum += size;
      last = size;
    } else if (least !== undefined) {
      const times = Math.max(Number(least), Number(most ?? 0), 1);
      if (times > mostRepeated) return 0;
      sum += last * (times - 1);
      last *= times;
    } else {
      const classes = text.match(/\\[pP]/gu)?.length ?? 0;
      last = 1 + classes * classSize;
      sum += last;
    }
  }
  return open.reduce((all, { sum: part }) => all + part, sum);
}
