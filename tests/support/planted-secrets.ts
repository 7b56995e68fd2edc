/** One secret written in the ways in which programs give secrets away; none of them may be left in a text. */
export interface Planted {
  form: string;
  text: string;
  /** What must not be in what is given on. */
  gone: string;
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");

/**
 * @param value that nobody would take for a word, known by its value: in an environment or in a job
 */
export function knownForms(value: string): Planted[] {
  const hex = Buffer.from(value).toString("hex");
  const forms: [form: string, text: string, gone?: string][] = [
    ["as it is", `it is ${value}, you know`],
    ["base64", `data: ${base64(value)}`, base64(value).slice(4, -4)],
    [
      "base64 within a header",
      `Basic ${base64(`user:${value}`)}`,
      base64(`user:${value}`).slice(8, -4),
    ],
    ["URL-encoded", `?q=${encodeURIComponent(value)}`, encodeURIComponent(value)],
    ["JSON-escaped", JSON.stringify({ said: `x ${value}` }), JSON.stringify(value).slice(1, -1)],
    ["JSON within JSON", JSON.stringify({ body: JSON.stringify({ said: value }) })],
    [
      "a URL's userinfo",
      `postgres://app:${encodeURIComponent(value)}@db/x`,
      encodeURIComponent(value),
    ],
    ["hexadecimal digits", `0x${hex}`, hex],
    ["upper-case hexadecimal digits", hex.toUpperCase(), hex.toUpperCase()],
    ["an exception's stack", new Error(`no ${value}`).stack ?? value],
    ["upper case", value.toUpperCase(), value.toUpperCase()],
  ];
  return forms.map(([form, text, gone = value]) => ({ form, text, gone }));
}

/** Secrets that nobody has told of, in a file near: known by their form or their name. Made of parts, for others' scanners. */
export function unknownForms(): Planted[] {
  const value = "q7Zr-49xKd_vT2m";
  const token = ["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiJhIn0", "c2lnbmF0dXJl"].join(".");
  const key = ["sk", "proj", "a1B2c3D4e5F6g7H8"].join("-");
  const pem = (kind: string) =>
    `-----BEGIN ${kind}PRIVATE KEY-----\nMIIEvQIBADANBg\nq7Zr49xKdvT2m\n-----END ${kind}PRIVATE KEY-----`;
  const forms: [form: string, text: string, gone?: string][] = [
    ["name = value", `db_password = ${value}`],
    ["a variable of an .env file", `export DB_PASSWORD=${value}\nNODE_ENV=production`],
    ["a plain word in an .env file", "DB_PASSWORD=swordfish\n", "swordfish"],
    ["a key of JSON", `{"apiKey": "${value}", "input_tokens": 5}`],
    ["value before name", `{"value": "${value}", "name": "DB_PASSWORD"}`],
    ["name before value", `env:\n  - name: API_TOKEN\n    value: ${value}\n`],
    ["YAML", `client_secret: ${value}\nauthor: me\n`],
    ["a header", `Authorization: Bearer ${value}`],
    ["a header of one's own", `X-Api-Key: ${value}`],
    ["a cookie", `Set-Cookie: sid=${value}; HttpOnly`],
    ["PEM", pem("RSA "), "q7Zr49xKdvT2m"],
    ["PEM in one line of JSON", JSON.stringify({ file: pem("") }), "q7Zr49xKdvT2m"],
    ["a JWT", `got ${token}`, token],
    ["a key of a model's provider", `using ${key} now`, key],
    ["a query's parameter", `GET /x?access_token=${value}&page=2`],
    ["a URL's userinfo", `https://me:${value}@example.com/x`],
    [
      "a GitHub token",
      `remote: ${["ghp", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"].join("_")}`,
      "a1B2c3D4e5F6",
    ],
    ["JSON within JSON", JSON.stringify({ body: JSON.stringify({ password: value }) })],
    ["quoted in a program", `const secret = "${value}";`],
  ];
  return forms.map(([form, text, gone = value]) => ({ form, text, gone }));
}
