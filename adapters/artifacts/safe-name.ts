/** True for a name that is one plain folder and can lead nowhere else: no slash, no leading dot, no `..`. */
export function isSafeName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/u.test(name) && !name.includes("..");
}
