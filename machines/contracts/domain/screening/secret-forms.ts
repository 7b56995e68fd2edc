import { type Form, type Found, matchAt, redacted } from "./spans.ts";

/** How a sentence goes on after one of its words: with another one, which is no name of a value. */
const goesOn = /^[,;]? [a-z]{1,20}(?=[\s.,;!?()]|$)/u;

/** What stands before the secret in a header. */
const schemes = new Set(
  "apikey aws basic bearer digest dpop hawk hmac hoba key mac mutual negotiate ntlm signature token vapid".split(
    " ",
  ),
);

/** Whether what follows a name and its colon is a sentence: `Authorization: expected a header` says no secret. */
export function isSentence(between: string, text: string): boolean {
  const first = /^[A-Za-z][a-z]{0,20}(?:'[a-z]{1,2})?(?![\w'])/u.exec(text)?.[0];
  const isWord = first !== undefined && !schemes.has(first.toLowerCase());
  return isWord && between.endsWith(": ") && goesOn.test(text.slice(first.length));
}

const ofBearers = /^(?:tokens?|auth|authentication|credentials|certificates?|scheme|header)$/u;

/** The secret itself begins at the anchor. */
function plain(
  kind: string,
  anchors: string | readonly string[],
  pattern: RegExp,
  isSecret: (found: string, match: RegExpExecArray) => boolean = () => true,
): Form {
  return {
    kind,
    anchors: typeof anchors === "string" ? [anchors] : anchors,
    find(text, at) {
      const match = matchAt(pattern, text, at);
      if (match === null) return null;
      const end = at + match[0].length;
      return { span: isSecret(match[0], match) ? { start: at, end } : null, next: end };
    },
  };
}

/** A value up to its end, but for the closing brackets of the text around it. */
export function valueSpan(value: string, start: number, next: number): Found {
  let { length } = value;
  const least = value.startsWith(redacted) ? redacted.length : 0;
  while (length > least && ")]}".includes(value[length - 1] ?? "-")) length -= 1;
  const isHidden = length === 0 || value.slice(0, length) === redacted;
  return { span: isHidden ? null : { start, end: start + length }, next };
}

/** How far before `://` a scheme may begin. */
const schemeLength = 31;
const schemeEnd = /[a-z][a-z0-9+.-]*$/iu;
/** A password that was not encoded has slashes in it; digits up to the first one are a port. */
const userInfo =
  /:\/\/[^\s:/?#@"']*:(?!\*\*\*@)([^\s/?#"']*|(?!\d*[/?#])[^\s"'@<>)\]]{1,200})@(?=[\w.[-])/uy;

const urlPassword: Form = {
  kind: "url-password",
  anchors: ["://"],
  find(text, at) {
    if (!schemeEnd.test(text.slice(Math.max(0, at - schemeLength), at))) return null;
    const match = matchAt(userInfo, text, at);
    if (match === null) return null;
    const [whole, password = ""] = match;
    const next = at + whole.length;
    const start = next - 1 - password.length;
    return { span: password === redacted ? null : { start, end: next - 1 }, next };
  },
};

const parameters = "api_key api-key apikey access_token token secret password signature sig";
const urlParameter: Form = {
  kind: "url-parameter",
  anchors: parameters.split(" ").flatMap((name) => [`?${name}=`, `&${name}=`]),
  find(text, at) {
    const match = matchAt(/[?&][\w-]+=([^&\s"'#\\]+)/uy, text, at);
    if (match === null) return null;
    const [whole, value = ""] = match;
    return valueSpan(value, at + whole.length - value.length, at + whole.length);
  },
};

const authorization =
  /\bauthorization["']?\s*[:=]\s*["']?((?:[a-z]+\s+)?)([^\s"'\\,;]{6,})(?=([^\r\n]{0,40}))/iuy;
const authorizationHeader: Form = {
  kind: "authorization",
  anchors: ["authorization"],
  find(text, at) {
    const match = matchAt(authorization, text, at);
    if (match === null) return null;
    const [whole, scheme = "", value = "", rest = ""] = match;
    const next = at + whole.length;
    const before = whole.slice(0, whole.length - scheme.length - value.length);
    if (isSentence(before, `${scheme}${value}${rest}`)) return { span: null, next };
    return valueSpan(value, next - value.length, next);
  },
};

const bearer: Form = {
  kind: "bearer-token",
  anchors: ["bearer"],
  find(text, at) {
    const match = matchAt(/\bbearer\s+([\w.~+/=-]{6,})(?=([^\r\n]{0,40}))/iuy, text, at);
    if (match === null) return null;
    const [whole, value = "", rest = ""] = match;
    const next = at + whole.length;
    const isWord = ofBearers.test(value) && goesOn.test(rest);
    return { span: isWord ? null : { start: next - value.length, end: next }, next };
  },
};

const cookie: Form = {
  kind: "cookie",
  anchors: ["cookie"],
  find(text, at) {
    const match = matchAt(/\bcookie\s*:\s*([^\r\n"'\\]+)/iuy, text, at);
    if (match === null) return null;
    const [whole, value = ""] = match;
    const next = at + whole.length;
    return value.includes("=") ? valueSpan(value, next - value.length, next) : { span: null, next };
  },
};

const hasDigit = (found: string): boolean => /\d/u.test(found);

const keyBegin = /-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----/uy;
const keyEnd = /-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----/uy;
/** Headers and base64; line ends may be escaped. No quotation mark: between two of a program's texts stands no key. */
const keyBody = /[\w+/=\s\\:,.;@()>]*(?:-(?!-)[\w+/=\s\\:,.;@()>]*)*/uy;
const cutKey =
  /(?:(?:\s|\\+[nrt]|\\{0,3}["']\s{0,4}[+\n]\s{0,20}\\{0,3}["']){0,20}(?:MII[A-Za-z0-9+/=]+|[A-Za-z0-9+/=]{16,})){1,1000}|(?:[\r\n]|\\+[rn])[A-Za-z0-9+/=\r\n]*$/uy;

/** Whole, or cut short. Where only the line stands that begins one (in code, in prose), what follows is none. */
const privateKey: Form = {
  kind: "private-key",
  anchors: ["-----begin"],
  find(text, at) {
    const begin = matchAt(keyBegin, text, at);
    if (begin === null) return null;
    const from = at + begin[0].length;
    const bodyEnd = from + (matchAt(keyBody, text, from)?.[0].length ?? 0);
    const end = matchAt(keyEnd, text, bodyEnd);
    if (end !== null && bodyEnd > from) {
      const next = bodyEnd + end[0].length;
      return { span: { start: at, end: next }, next };
    }
    const cut = from + (matchAt(cutKey, text, from)?.[0].length ?? 0);
    return { span: cut === from ? null : { start: at, end: cut }, next: Math.max(cut, bodyEnd) };
  },
};

/** What secrets look like wherever they stand. */
export const secretForms: readonly Form[] = [
  privateKey,
  urlPassword,
  urlParameter,
  authorizationHeader,
  bearer,
  cookie,
  plain(
    "json-web-token",
    "eyj",
    /\beyJ[\w-]{8,}(\.[\w-]+(?:\.[\w-]*)?)?/uy,
    (_, [, payload]) => payload !== undefined,
  ),
  // A digit tells a key from hyphenated words.
  plain("model-provider-key", "sk-", /\bsk-[\w-]{8,}/uy, hasDigit),
  plain("model-provider-key", ["gsk_", "xai-"], /\b(?:gsk_|xai-)[A-Za-z0-9]{20,}/uy),
  plain("aws-access-key-id", ["akia", "asia"], /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/uy),
  plain("github-token", ["gho_", "ghp_", "ghs_", "ghr_", "ghu_"], /\bgh[opsru]_\w{20,}/uy),
  plain("github-token", "github_pat_", /\bgithub_pat_\w{20,}/uy),
  plain("slack-token", "xox", /\bxox[abeoprs]-[\w-]{10,}/uy),
  plain("slack-token", "xapp-", /\bxapp-[\w-]{10,}/uy),
  {
    kind: "slack-webhook",
    anchors: ["hooks.slack.com/services/"],
    find(text, at) {
      const match = matchAt(/hooks\.slack\.com\/services\/([\w/]{8,})/iuy, text, at);
      if (match === null) return null;
      const end = at + match[0].length;
      return { span: { start: end - (match[1] ?? "").length, end }, next: end };
    },
  },
  plain(
    "stripe-key",
    ["rk_", "sk_", "pk_", "whsec_"],
    /\b(?:[rsp]k_(?:live|test)_|whsec_)\w{8,}/uy,
  ),
  plain("google-key", "aiza", /\bAIza[\w-]{30,}/uy),
  plain("google-key", "ya29.", /\bya29\.[\w-]{8,}/uy),
  plain("google-key", "gocspx-", /\bGOCSPX-[\w-]{8,}/uy),
  plain("gitlab-token", "gl", /\bgl(?:pat|dt|rt|cbt|ptt|soat|ft|imt|agent)-[\w-]{16,}/uy),
  plain("npm-token", "npm_", /\bnpm_[A-Za-z0-9]{20,}/uy),
  plain("hugging-face-token", "hf_", /\bhf_[A-Za-z0-9]{20,}/uy),
  plain("sendgrid-key", "sg.", /\bSG\.[\w-]{12,}\.[\w-]{12,}/uy),
  plain("pypi-token", "pypi-", /\bpypi-[\w-]{16,}/uy),
  plain("digitalocean-token", ["doo_v1_", "dop_v1_", "dor_v1_"], /\bdo[opr]_v1_[a-f0-9]{20,}/uy),
  plain("shopify-token", "shp", /\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{16,}/uy),
  plain("linear-key", "lin_api_", /\blin_api_[A-Za-z0-9]{20,}/uy),
  plain("1password-token", "ops_ey", /\bops_eyJ[\w-]{20,}/uy),
  plain("vault-token", ["hvs.", "hvb."], /\bhv[sb]\.[\w-]{20,}/uy),
  plain("databricks-token", "dapi", /\bdapi[a-f0-9]{32}\b/uy),
  plain("age-key", "age-secret-key-1", /\bAGE-SECRET-KEY-1[A-Z0-9]{20,}/uy),
  plain("atlassian-token", "atatt3", /\bATATT3[\w=-]{20,}/uy),
  plain("postman-key", "pmak-", /\bPMAK-[a-f0-9]{24}-[a-f0-9]{34}/uy),
  plain("sentry-token", ["sntrys_", "sntryu_"], /\bsntry[su]_[\w=+/-]{20,}/uy),
  plain("figma-token", "figd_", /\bfigd_[\w-]{20,}/uy),
  plain("doppler-token", "dp.", /\bdp\.(?:pt|st|ct|sa)\.[\w.-]{20,}/uy),
  // Of Stateplane's own control plane and FerrumDeck's.
  plain("control-plane-key", "fd_", /\bfd_(?:[\w-]{40,}|(?:\w+_)?key_\w{4,})/uy),
];
