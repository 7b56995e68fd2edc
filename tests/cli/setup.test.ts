import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const setup = fileURLToPath(new URL("../../cli/setup.ts", import.meta.url));
const names = ["redis-server", "bwrap", "git", "python3", "ps"];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-setup-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A program of the given name, in a folder that is the whole PATH. */
async function program(name: string, script = ""): Promise<void> {
  const file = join(folder, name);
  await writeFile(file, `#!/bin/sh\n${script}\n`);
  await chmod(file, 0o755);
}

function runSetup(): Promise<{ code: number; stdout: string }> {
  const { promise, resolve } = Promise.withResolvers<{ code: number; stdout: string }>();
  execFile(process.execPath, [setup], { env: { PATH: folder } }, (error, stdout) => {
    resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout });
  });
  return promise;
}

describe.skipIf(process.platform !== "linux")("npm run setup", () => {
  it("does nothing where nothing is missing", async () => {
    for (const name of names) await program(name);
    await program("apt-get", `echo called >> ${folder}/log`);
    const { code, stdout } = await runSetup();
    expect(code).toBe(0);
    expect(stdout).toContain("nothing to do");
    await expect(readFile(join(folder, "log"))).rejects.toThrow("ENOENT");
  });

  it("installs just what is missing, saying what it does", async () => {
    await program("git");
    await program("ps");
    await program("valkey-server");
    await program("sudo", 'shift; exec "$@"');
    const install = `for name in bwrap python3; do echo > ${folder}/$name; /bin/chmod +x ${folder}/$name; done`;
    await program(
      "apt-get",
      `echo "$@" >> ${folder}/log\n[ "$1" = install ] && { ${install}; }; true`,
    );
    const { code, stdout } = await runSetup();
    expect(stdout).toContain("missing: bwrap, python3");
    expect(stdout).toMatch(
      /running: (sudo -n )?apt-get install -y --no-install-recommends bubblewrap/,
    );
    expect(await readFile(join(folder, "log"), "utf8")).toBe(
      "update -qq\ninstall -y --no-install-recommends bubblewrap python3\n",
    );
    expect(code).toBe(0);
  });

  it("says what to type when it can't install, and exits 1", async () => {
    const none = await runSetup();
    expect(none.code).toBe(1);
    expect(none.stdout).toContain("no apt-get and no brew here: install them by hand");
    await program("sudo", 'shift; exec "$@"');
    await program("apt-get", "exit 100");
    const failed = await runSetup();
    expect(failed.code).toBe(1);
    expect(failed.stdout).toContain(
      "by hand: apt-get install redis-server bubblewrap git python3 procps",
    );
  });

  it("tells when an installation brought nothing", async () => {
    await program("sudo", 'shift; exec "$@"');
    await program("apt-get");
    const { code, stdout } = await runSetup();
    expect(code).toBe(1);
    expect(stdout).toContain("still not on the PATH: redis-server or valkey-server, bwrap");
  });
});

it.skipIf(process.platform !== "linux")(
  "the tests say first which programs they lack, and nothing where all are here",
  async () => {
    const told = new URL("../support/tell-missing.ts", import.meta.url).href;
    const code = `(await import(${JSON.stringify(told)})).setup()`;
    const say = () => {
      const { promise, resolve } = Promise.withResolvers<string>();
      const args = ["--input-type=module", "-e", code];
      execFile(process.execPath, args, { env: { PATH: folder } }, (_, _out, said) => resolve(said));
      return promise;
    };
    for (const name of ["git", "ps", "python3"]) await program(name);
    expect(await say()).toBe(
      "Not on the PATH: redis-server or valkey-server, bwrap. The tests that need them will fail; `npm run setup` gets them, or `apt-get install redis-server bubblewrap` as root.\n",
    );
    for (const name of names) await program(name);
    expect(await say()).toBe("");
  },
);
