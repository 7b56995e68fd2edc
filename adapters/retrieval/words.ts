const segmenter = new Intl.Segmenter("en", { granularity: "word" });

/**
 * The words of a text as they are compared: Unicode's word boundaries (which also part scripts that write no
 * spaces), compatibility forms made one, case folded (upper, then lower: ß and SS are the same).
 */
export function words(text: string): string[] {
  const folded = text.normalize("NFKC").toUpperCase().toLowerCase();
  const parts = [...segmenter.segment(folded)].filter(({ isWordLike }) => isWordLike === true);
  // Unicode keeps `l'école` together; whoever looks for the school leaves the article out.
  return parts.flatMap(({ segment }) => segment.split(/['’]/u).filter((word) => word !== ""));
}
