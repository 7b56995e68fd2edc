/** Redis's flat list of names and values as a record; a name that comes twice keeps its last value. */
export function fieldsOf(flat: readonly string[] | null): Record<string, string> {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < (flat?.length ?? 0); i += 2) {
    pairs.push([flat?.[i] ?? "", flat?.[i + 1] ?? ""]);
  }
  return Object.fromEntries(pairs);
}
