import { isLetter } from "./named-secrets.ts";
import { type Form, type Found, matchAt } from "./spans.ts";

/*
 * Personal data by its form, each with the check that its form has: a card by Luhn's sum, an IBAN by its remainder, a
 * social security number by the numbers that are never given out. What has no check (an address, a telephone number) must
 * be written as people write it.
 */

const isDigit = (code: number): boolean => code >= 48 && code <= 57;
const isWordAt = (text: string, at: number): boolean => {
  const code = text.charCodeAt(at);
  return isLetter(code) || isDigit(code) || code === 95;
};

/** Before the at sign: RFC 5321 allows 64 characters, and these without quotation marks. */
const ofLocal = new Set(
  [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.!#$%&'*+?^{|}~-"].map(
    (one) => one.charCodeAt(0),
  ),
);

function startOfLocal(text: string, at: number): number {
  let start = at;
  while (start > 0 && at - start < 64 && ofLocal.has(text.charCodeAt(start - 1))) start -= 1;
  while (start < at && ".'".includes(text[start] ?? "-")) start += 1;
  return start;
}

const domain = /@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}(?![\w-])/iuy;

const email: Form = {
  kind: "email",
  anchors: ["@"],
  find(text, at) {
    const after = matchAt(domain, text, at);
    if (after === null) return null;
    const start = startOfLocal(text, at);
    if (start === at) return null;
    const next = at + after[0].length;
    return { span: { start, end: next }, next };
  },
};

const digits = [..."0123456789"];

/** Digits with single blanks or hyphens between them. */
const grouped = /\d(?:[ -]?\d){11,22}(?![\w-])/uy;
/** How cards begin, and how many digits they have then. */
const cards =
  /^(?:4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[068]\d{12}|(?:6(?:011|4[4-9]|5)|35|62)\d{10,16})$/u;

function passesLuhn(number: string): boolean {
  let sum = 0;
  for (let at = number.length - 1, isDouble = false; at >= 0; at -= 1, isDouble = !isDouble) {
    const digit = number.charCodeAt(at) - 48;
    const twice = digit * 2;
    sum += isDouble ? (twice > 9 ? twice - 9 : twice) : digit;
  }
  return sum % 10 === 0;
}

/** A form that begins with a digit, where no digit, letter or point stands before it. */
function numberForm(kind: string, pattern: RegExp, isOne: (found: string) => boolean): Form {
  return {
    kind,
    anchors: digits,
    find(text, at): Found | null {
      const before = at === 0 ? 32 : text.charCodeAt(at - 1);
      if (isDigit(before) || before === 46 || before === 45 || isWordAt(text, at - 1)) return null;
      const match = matchAt(pattern, text, at);
      if (match === null) return null;
      const next = at + match[0].length;
      return { span: isOne(match[0]) ? { start: at, end: next } : null, next };
    },
  };
}

const card = numberForm("card", grouped, (found) => {
  const number = found.replaceAll(/[ -]/gu, "");
  return cards.test(number) && passesLuhn(number);
});

const ssn = numberForm("social-security-number", /\d{3}([ -])\d{2}\1\d{4}(?![\w-])/uy, (found) => {
  const [area = "", group = "", serial = ""] = found.split(/[ -]/u);
  return !/^(?:000|666|9)/u.test(area) && group !== "00" && serial !== "0000";
});

/** How many characters an IBAN has, by the country it begins with. */
const ibanLengths = new Map(
  "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
    .split(" ")
    .map((one) => [one.slice(0, 2), Number(one.slice(2))]),
);

const ibanText = /[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])/uy;

/** Read as one large number, letters as 10 to 35, its check digits last: the remainder by 97 is 1. */
function isIban(written: string): boolean {
  const given = written.replaceAll(" ", "");
  if (ibanLengths.get(given.slice(0, 2)) !== given.length) return false;
  let rest = 0;
  for (const character of given.slice(4) + given.slice(0, 4)) {
    const value = Number.parseInt(character, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest === 1;
}

const iban: Form = {
  kind: "iban",
  anchors: [...ibanLengths.keys()].map((country) => country.toLowerCase()),
  find(text, at) {
    if (!isDigit(text.charCodeAt(at + 2)) || isWordAt(text, at - 1)) return null;
    const match = matchAt(ibanText, text, at);
    if (match === null) return null;
    // Words in capitals may follow after a blank: the country says where the number ends.
    const wanted = ibanLengths.get(text.slice(at, at + 2)) ?? 0;
    let end = at;
    for (let seen = 0; seen < wanted && end < at + match[0].length; end += 1) {
      if (text[end] !== " ") seen += 1;
    }
    const isWhole = !isWordAt(text, end) && isIban(text.slice(at, end));
    return { span: isWhole ? { start: at, end } : null, next: isWhole ? end : at + 4 };
  },
};

/** International, or as they are written in North America; seven digits alone are anything. */
const international =
  /\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,5}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,5}(?![\w-])/uy;
const national = /\(\d{3}\) ?\d{3}[-. ]\d{4}(?![\w-])/uy;
const dashed = /\d{3}([-.])\d{3}\1\d{4}(?![\w-])/uy;

const phone: Form = {
  kind: "phone",
  anchors: ["+", "("],
  find(text, at) {
    if (isWordAt(text, at - 1)) return null;
    const match = matchAt(text[at] === "+" ? international : national, text, at);
    if (match === null) return null;
    const next = at + match[0].length;
    const count = match[0].replaceAll(/\D/gu, "").length;
    return { span: count >= 8 && count <= 15 ? { start: at, end: next } : null, next };
  },
};

export const personalForms: readonly Form[] = [
  email,
  phone,
  numberForm("phone", dashed, () => true),
  card,
  iban,
  ssn,
];
