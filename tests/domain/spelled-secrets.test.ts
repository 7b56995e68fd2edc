import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createOutputScreen,
  defaultOutputScreening,
} from "../../machines/contracts/domain/screening/output-rules.ts";
import { redactText } from "../../machines/contracts/domain/screening/secrets.ts";

const screen = createOutputScreen(defaultOutputScreening);
const given = (text: string): string => String(screen(text).value);

/** As generators make them: letters of both cases and a digit, and signs within. */
const secrets = fc
  .stringMatching(/^[A-Z][a-z]{2}[0-9][A-Za-z0-9!_+~^]{4,16}[a-z]$/u)
  .filter((text) => !/token|pass|redacted/iu.test(text));
const names = fc.constantFrom(
  "password",
  "DB_PASSWORD",
  "apiKey",
  "client_secret",
  "PGPASSWORD",
  "DB_PASS",
);
const ways: readonly ((name: string, secret: string) => string)[] = [
  (name, secret) => `${name}=${secret} run`,
  (name, secret) => `${name}: ${secret}`,
  (name, secret) => `${name}:\n  ${secret}\nnext: 1`,
  (name, secret) => `--${name} ${secret} --verbose`,
  (name, secret) => `--${name}='${secret}'`,
  (name, secret) => `<${name}>${secret}</${name}>`,
  (name, secret) => `<${name} value="${secret}"/>`,
  (name, secret) => `"${name}" => "${secret}"`,
  (name, secret) => `${name} := '${secret}'`,
  (name, secret) => `{'${name}': '${secret}'}`,
  (name, secret) => `${name}="""${secret}"""`,
  (name, secret) => `${name}%3D${secret}&next=1`,
  (name, secret) => `ENV ${name} ${secret}`,
  (name, secret) => `the ${name} is ${secret}.`,
  (name, secret) => `curl -u me:${secret} https://a.example`,
  (_, secret) => `mysql -h db -u root -p${secret} shop`,
  (_, secret) => `mysqldump '-p${secret}' shop > /tmp/x`,
  (_, secret) => `/usr/bin/mariadb-admin -p"${secret}" status`,
  (_, secret) => JSON.stringify(["mysql", "-uroot", `-p${secret}`]),
  (_, secret) => `sshpass -p ${secret} ssh root@host`,
  (_, secret) => `redis-cli -h r -a ${secret} ping`,
  (_, secret) => `docker login registry.example -u me -p ${secret}`,
  (_, secret) => `mongosh -u me -p '${secret}' db`,
  (_, secret) => `ldapsearch -D cn=me -w ${secret} -b dc=x`,
  (_, secret) => `user: me\npass: ${secret}\nhost: db`,
  (_, secret) => `{"pass": "${secret}", "login": "me"}`,
  (_, secret) => `username=me pass=${secret}`,
  (_, secret) => `postgres://me:a/b#${secret}@host/db`,
  (name, secret) => JSON.stringify({ [name]: `a"b\\${secret}` }),
  (name, secret) => JSON.stringify({ body: JSON.stringify({ [name]: secret }) }),
];

describe("a secret beside its name", () => {
  it("is taken out in every usual spelling, and JSON around it stays JSON [secrets.by-name]", () => {
    fc.assert(
      fc.property(names, secrets, fc.nat(ways.length - 1), (name, secret, way) => {
        const text = ways[way]?.(name, secret) ?? "";
        const json = JSON.stringify({ text, next: [text] });
        for (const hide of [redactText, given]) {
          expect(hide(text)).not.toContain(secret);
          expect(hide(json)).not.toContain(secret);
          expect(Object.keys(JSON.parse(hide(json)) as object)).toEqual(["text", "next"]);
          expect(hide(hide(text))).toBe(hide(text));
        }
      }),
      { numRuns: 600 },
    );
  });

  it.each([
    "input_tokens: 12 author: Jane, token_count: 1,234",
    "auth_url: https://a.example/login?x=1 token_endpoint=https://a.example/token2",
    '{"errors":{"password":"must be at least 8 characters"}}',
    '{"errors":{"password":["is too short"]},"auth":"required"}',
    '{"password":"Password is required","token":"invalid or expired"}',
    '{"words":[{"token":"world"}]}',
    "--token-limit 500x1 --password-file /run/x1",
    "tests passed: 33abc, first_pass: 2nd0ne, compass: n0rth99",
    "auth_method: oauth2-pkce, password_hash_rounds=12x",
    "http://localhost:3000/@scope/name and https://h:8080/a@b2.example",
    "the password is wrong, and the token was refused",
    "docker run -u 1000:1000 image",
    "docker run -p 8080:80x2 image && mysql -p shop2 -P 3306a",
    "mysql -port3306 -protocol=tcp4 -password=, then -pPASSWORD or -p$MYSQL_PWD1 or -p<password>",
    "the mysql port is opened\nssh -p2222a host, cp -pR1 a b2, mkdir -p a1b2/c3d4",
    "pass: test_case_12 (0.01s), PASS: tests/foo1.sh, pass: 33abc9, fail: 2",
    "user: alice, pass: 12, pass: true, pass: yes, pass: $PASS1, pass: <secret1>",
    "grep -a pattern1 file2; redis-cli ping | grep -a p4ttern",
    "login: ok\ncompass: n0rth99x, bypass: r0ute99x",
    "<password>",
    "password must be at least 8 characters",
  ])("is none where something is said of it: %s [screening.quiet]", (text) => {
    expect(redactText(text)).toBe(text);
    expect(given(text)).toBe(text);
  });
});
