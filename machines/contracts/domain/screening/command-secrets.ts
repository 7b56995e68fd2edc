import { looksGenerated, placeholder } from "./named-secrets.ts";
import { type Form, matchAt, redacted } from "./spans.ts";

/*
 * Passwords that a command is given by a flag of one letter, which says nothing by itself: `-p` is a port to one, a folder
 * to another. So the command's own name must stand before it, in the same command.
 */

/** Characters of a command that are looked at before a flag. */
const reach = 400;

/** Of each flag: the commands to which it is a password, and how that is written. */
const flags: Record<string, { of: RegExp; value: "joined" | "apart" }[]> = {
  p: [
    { of: /\b(?:mysql|mariadb|sshpass|7z)/iu, value: "joined" },
    { of: /\bsshpass\b|\bmongo|\b(?:docker|podman|helm|oc|az)\b.*\blogin\b/iu, value: "apart" },
  ],
  P: [{ of: /\b(?:zip|unzip|sqlcmd)\b/iu, value: "apart" }],
  a: [{ of: /\b(?:redis|valkey)-cli\b/iu, value: "apart" }],
  w: [{ of: /\bldap/iu, value: "apart" }],
};

const word = `((?!\\[redacted)[^\\s"'\`<>\\\\|;&,)]{4,200})`;
const patterns = {
  // As one word with its flag, so not `-port`, `-password=`, `-protocol`.
  joined: new RegExp(`(?:\\\\{0,3}["'])?(?!assw|ort|roto|lug|rint|ath|refix)${word}`, "uy"),
  apart: new RegExp(`(?:[ \\t]{1,4}|\\\\{0,3}["'],? {0,4})\\\\{0,3}["']?${word}`, "uy"),
};

/** As documentation writes it: `-pPASSWORD`. */
const toBeFilledIn = /^(?:my|your|the|some)?[-_]?(?:secret|pass(?:word|wd)?|pwd?)$/iu;

const isWord = (text: string): boolean => !/\d/u.test(text) || !looksGenerated(text);

export const flaggedPassword: Form = {
  kind: "named-secret",
  anchors: ["p", "a", "w"].flatMap((flag) => [` -${flag}`, `"-${flag}`, `'-${flag}`]),
  find(text, at) {
    const known = flags[text[at + 2] ?? ""];
    if (known === undefined) return null;
    for (const { of, value } of known) {
      const match = matchAt(patterns[value], text, at + 3);
      const secret = match?.[1] ?? "";
      if (match === null || placeholder.test(secret) || toBeFilledIn.test(secret)) continue;
      const before = commandBefore(text, at);
      if (!of.test(before)) continue;
      // Where the flag may be another's, as of a command within, what is plainly a word or a number is none.
      if (value === "apart" && isWord(secret) && !/\bsshpass\b/iu.test(before)) continue;
      const next = at + 3 + match[0].length;
      return { span: { start: next - secret.length, end: next }, next };
    }
    return null;
  },
};

function commandBefore(text: string, at: number): string {
  const piece = text.slice(Math.max(0, at - reach), at);
  const from = Math.max(...["\n", "|", ";", "&"].map((end) => piece.lastIndexOf(end)));
  return piece.slice(from + 1);
}

/** `curl -u name:password`. */
export const flaggedUser: Form = {
  kind: "named-secret",
  anchors: ["-u ", "--user "],
  find(text, at) {
    const match = matchAt(/--?u(?:ser)?\s{1,4}["']?[\w.@-]{1,64}:([^\s"'\\]{4,200})/uy, text, at);
    const secret = match?.[1] ?? "";
    if (match === null || isWord(secret) || !/[a-z]/iu.test(secret)) return null;
    if (placeholder.test(secret) || secret.includes(redacted)) return null;
    const next = at + match[0].length;
    return { span: { start: next - secret.length, end: next }, next };
  },
};

const besideLogin = new RegExp(
  `pass(\\\\{0,3}["'])?[ \\t]{0,4}[:=][ \\t]{0,4}(?:\\\\{0,3}["'])?${word}`,
  "iuy",
);
/** The `n` of a line's end in JSON is no part of a name. */
const beginsWord = /(?:^|[^\w.-]|\\[nrt])$/u;
const login =
  /(?:^|[^\w-]|\\[nrt])(?:user(?:_?name)?|login|e-?mail|account)\\{0,3}["']?[ \t]{0,4}[:=]/iu;

/** `user: me, pass: …`. By itself `pass: …` is a test's name as often. */
export const passBesideLogin: Form = {
  kind: "named-secret",
  anchors: ["pass"],
  find(text, at) {
    if (!beginsWord.test(text.slice(Math.max(0, at - 2), at))) return null;
    const match = matchAt(besideLogin, text, at);
    const secret = match?.[2] ?? "";
    if (match === null || secret.length < 6 || isWord(secret) || !/[a-z]/iu.test(secret))
      return null;
    if (placeholder.test(secret)) return null;
    const next = at + match[0].length;
    if (!login.test(text.slice(Math.max(0, at - 160), next + 160))) return null;
    return { span: { start: next - secret.length, end: next }, next };
  },
};
