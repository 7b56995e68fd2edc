import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type GitHttpsServer, startGitHttpsServer } from "../support/git-https-server.ts";
import { localhostCertificate } from "../support/localhost-certificate.ts";
import { RecordedServer, type Started } from "../support/recorded-server.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const file = fileURLToPath(new URL("../../tools/git/server.ts", import.meta.url));
const token = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
const encoded = Buffer.from(`x-access-token:${token}`).toString("base64");

const base = useTemporaryFolder();
const [root, remote, tmp] = ["root", "remote", "tmp"].map((name) => join(base, name)) as [
  string,
  string,
  string,
];
const git = (cwd: string, ...args: string[]): string =>
  execFileSync("git", args, {
    cwd,
    env: { PATH: process.env["PATH"], HOME: base, GIT_CONFIG_NOSYSTEM: "1" },
    encoding: "utf8",
  }).trim();

let https: GitHttpsServer;
let another: GitHttpsServer;
const servers: RecordedServer[] = [];
/** All that was started and said by every server of this file, in which the token must not be. */
const started: Started[] = [];
const said: string[] = [];

beforeAll(async () => {
  for (const folder of [remote, tmp]) mkdirSync(folder);
  writeFileSync(join(base, "ca.pem"), localhostCertificate);
  https = await startGitHttpsServer(remote, token);
  another = await startGitHttpsServer(remote, token);
});
beforeEach(() => {
  mkdirSync(root);
  const made = join(base, "made");
  git(base, "init", "--quiet", "--initial-branch=main", "made");
  git(made, "config", "user.name", "Ada");
  git(made, "config", "user.email", "ada@example.org");
  git(made, "commit", "--quiet", "--allow-empty", "--message=first");
  git(made, "clone", "--quiet", "--bare", ".", join(remote, "x.git"));
  rmSync(made, { recursive: true });
  https.redirect = null;
});
afterEach(() => {
  rmSync(root, { recursive: true });
  rmSync(join(remote, "x.git"), { recursive: true });
});
afterAll(async () => {
  await Promise.all([...servers.map((server) => server.stop()), https.close(), another.close()]);
});

async function start(env: Record<string, string>, withToken = true) {
  const { host } = https;
  const given = withToken ? ["--token", `${host}=FORGE_TOKEN`] : [];
  const server = new RecordedServer(
    join(base, `records-${servers.length}`),
    file,
    ["--root", root, "--allow-host", host, "--protect", "main", ...given],
    { cwd: base, env: { TMPDIR: tmp, GIT_SSL_CAINFO: join(base, "ca.pem"), ...env } },
  );
  servers.push(server);
  await server.start();
  return async (tool: string, input: object) => {
    const answer = await server.call(tool, input);
    started.push(...server.takeStarted());
    said.push(JSON.stringify(answer));
    return answer.result;
  };
}

const bothWays = [token, encoded];
function expectNoToken(): void {
  for (const secret of bothWays) {
    const programs = started.map(({ program, args }) => [program, ...args].join(" "));
    expect(programs.filter((line) => line.includes(secret))).toEqual([]);
    expect(said.filter((line) => line.includes(secret))).toEqual([]);
    for (const folder of [root, remote, tmp]) {
      for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue;
        const text = readFileSync(join(entry.parentPath, entry.name), "latin1");
        expect(text.includes(secret), join(entry.parentPath, entry.name)).toBe(false);
      }
    }
  }
}

test("clones and pushes over https with a token out of its environment, which is in no output, arguments or file [git.token]", async () => {
  const call = await start({ FORGE_TOKEN: token });
  const url = `https://${https.host}/x.git`;
  https.authorizations.length = 0;
  expect(await call("git_clone", { url })).toMatchObject({
    structuredContent: { repo: "x", url, branch: "main" },
  });
  await call("git_checkout", { repo: "x", branch: "topic", create: true });
  writeFileSync(join(root, "x", "a.txt"), "a\n");
  await call("git_add", { repo: "x", files: ["."] });
  const made = await call("git_commit", { repo: "x", message: "a file" });
  expect(await call("git_push", { repo: "x", set_upstream: true })).toMatchObject({
    structuredContent: { remote: "origin", url, branch: "topic", change: "created" },
  });
  expect(git(join(remote, "x.git"), "rev-parse", "topic")).toBe(made?.structuredContent?.["hash"]);
  // It was needed, and it was sent at once: nobody was asked for a password.
  expect(new Set(https.authorizations)).toEqual(new Set([`Basic ${encoded}`]));
  expect(git(join(root, "x"), "config", "--get", "remote.origin.url")).toBe(url);
  expectNoToken();
});

test("pushes to no protected branch over https either, and by nothing but new commits [git.push]", async () => {
  const call = await start({ FORGE_TOKEN: token });
  await call("git_clone", { url: `https://${https.host}/x.git` });
  const before = git(join(remote, "x.git"), "for-each-ref");
  const main = await call("git_push", { repo: "x", branch: "main" });
  expect(main?.content?.[0]?.text).toContain('branch "main" is protected');
  expect(git(join(remote, "x.git"), "for-each-ref")).toBe(before);
});

test("a token that the host does not take, or none, is told without it [git.token]", async () => {
  const wrong = await start({ FORGE_TOKEN: `${token}x` });
  const none = await start({}, false);
  for (const [call, hint] of [
    [wrong, `(the token of --token ${https.host} was sent)`],
    [none, `(no token was sent; one for this host would come from --token ${https.host}=VARIABLE)`],
  ] as const) {
    const refused = await call("git_clone", { url: `https://${https.host}/x.git` });
    expect(refused).toMatchObject({ isError: true });
    expect(refused?.content?.[0]?.text).toBe(
      `nothing was cloned: could not read Username for 'https://${https.host}': terminal prompts disabled ${hint}`,
    );
  }
  expect(started.map(({ program }) => program).filter((name) => name.includes("false"))).toEqual(
    [],
  );
  expect(readdirSync(root)).toEqual([]);
  expectNoToken();
});

test("goes to no other host: neither asked nor led there, and no token does [git.remotes] [git.token]", async () => {
  const call = await start({ FORGE_TOKEN: token });
  another.authorizations.length = 0;
  const asked = await call("git_clone", { url: `https://${another.host}/x.git` });
  expect(asked?.content?.[0]?.text).toContain("is not allowed");
  https.redirect = `https://${another.host}`;
  const led = await call("git_clone", { url: `https://${https.host}/x.git` });
  expect(led).toMatchObject({ isError: true });
  expect(another.authorizations).toEqual([]);
  expectNoToken();
});
