/** What stands between the markers of external content; any other text as it is. Without vitest: the simulator runs alone. */
export const unmarked = (text: string): string =>
  text.replace(/^<external_content [^>]*>\n/u, "").replace(/\n<\/external_content [^>]*>$/u, "");
