/** Made when it is needed: it reads a good part of ICU's data. */
let segmenter: Intl.Segmenter | null = null;
const plainWords = /^[\x20-\x7e\t\r\n]*$/u;

/**
 * The words of a text as they are compared: Unicode's word boundaries (which also part scripts that write no
 * spaces), compatibility forms made one, case folded (upper, then lower: ß and SS are the same, İ and i), accents of
 * Latin, Greek and Cyrillic left out.
 */
export function words(text: string): string[] {
  // English and code need none of that, and are most of what is searched.
  if (plainWords.test(text) && !/[.:_]/u.test(text))
    return text.toLowerCase().match(/[a-z0-9]+/gu) ?? [];
  // Only these marks: those of other scripts make other letters (か and が), and are put together again.
  const bare = text
    .normalize("NFKD")
    .replaceAll(/[\u0300-\u036f]/gu, "")
    .normalize("NFC");
  const folded = bare.toUpperCase().toLowerCase();
  segmenter ??= new Intl.Segmenter("en", { granularity: "word" });
  const parts = [...segmenter.segment(folded)].filter(({ isWordLike }) => isWordLike === true);
  // Unicode keeps `l'école` together; whoever looks for the school leaves the article out.
  return parts
    .flatMap(({ segment }) => segment.split(/['’]/u).filter((word) => word !== ""))
    .flatMap((word) => (hangul.test(word) ? koreanWords(word) : word));
}

const hangul = /\p{Script=Hangul}/u;
const runs = /\p{Script=Hangul}+|\P{Script=Hangul}+/gu;
/** Particles of one syllable, which are written as one with the noun before them. */
const particles = new Set("은는이가을를에의도로와과만");

/**
 * Korean writes particles and endings as one with the word, and no segmenter parts them. A longer word is every two
 * syllables that stand together, as analysers of Korean do it without a dictionary; a shorter one is itself, and
 * without its particle.
 */
function koreanWords(word: string): string[] {
  return (word.match(runs) ?? []).flatMap((run) => {
    const syllables = [...run];
    if (!hangul.test(run)) return [run];
    if (syllables.length > 2)
      return syllables.slice(1).map((next, at) => `${syllables[at]}${next}`);
    const [first = "", last] = syllables;
    return last !== undefined && particles.has(last) ? [run, first] : [run];
  });
}
