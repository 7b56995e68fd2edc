import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type AuditEntry,
  type AuditHead,
  checkChain,
  emptyHead,
  linkHash,
} from "../../adapters/control-plane/audit-chain.ts";
import { auditApi } from "../../adapters/control-plane/audit-api.ts";
import { apiKey, startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { runCli } from "../support/run-cli.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
type Entry = AuditEntry & { hash: string };

const fields = fc.record({
  id: fc.string(),
  run_id: fc.option(fc.string()),
  by: fc.option(fc.string()),
  event: fc.string(),
  details: fc.json().map((text) => JSON.parse(text) as AuditEntry["details"]),
  created_at: fc.string(),
});
const chains = fc.array(fields, { minLength: 1, maxLength: 12 }).map((all) => {
  let head = emptyHead;
  return all.map((entry): Entry => {
    const seq = head.count + 1;
    const hash = linkHash(head.hash, { seq, ...entry });
    head = { count: seq, hash };
    return { seq, ...entry, hash };
  });
});
const headOf = (chain: readonly Entry[]): AuditHead => {
  const last = chain.at(-1);
  return last === undefined ? emptyHead : { count: last.seq, hash: last.hash };
};

/** The first problem of a chain, read as `audit verify` does. */
function problemOf(chain: readonly Entry[], last: AuditHead, noted: AuditHead[] = []) {
  const check = checkChain(last, noted);
  for (const entry of chain) {
    const problem = check.take(entry);
    if (problem !== null) return problem;
  }
  return check.end();
}

describe("a chain", () => {
  it("is whole as it was made, and over the wire", () => {
    fc.assert(
      fc.property(chains, (chain) => {
        expect(problemOf(JSON.parse(JSON.stringify(chain)) as Entry[], headOf(chain))).toBeNull();
      }),
    );
  });

  it("shows any change of any field, any entry left out, moved or added, and a cut [audit.tampering]", () => {
    const harm = fc.oneof(
      fc.tuple(fc.constant("field" as const), fields),
      fc.tuple(
        fc.constantFrom("drop", "cut", "swap", "double", "hash") as fc.Arbitrary<
          "drop" | "cut" | "swap" | "double" | "hash"
        >,
        fc.constant(null),
      ),
    );
    fc.assert(
      fc.property(chains, fc.nat(), harm, fc.nat(5), (chain, where, [kind, other], which) => {
        const at = where % chain.length;
        const harmed = structuredClone(chain);
        const entry = harmed[at] as Entry;
        if (kind === "drop") harmed.splice(at, 1);
        if (kind === "cut") harmed.splice(at);
        if (kind === "swap") harmed.splice(at, 2, ...harmed.slice(at, at + 2).toReversed());
        if (kind === "double") harmed.splice(at, 0, entry);
        if (kind === "hash") entry.hash = entry.hash.replace(/^./u, (c) => (c === "0" ? "1" : "0"));
        if (kind === "field" && other !== null) {
          const name = Object.keys(other)[which] as keyof typeof other;
          Object.assign(entry, { [name]: other[name] });
        }
        fc.pre(JSON.stringify(harmed) !== JSON.stringify(chain));
        expect(problemOf(harmed, headOf(chain))).not.toBeNull();
      }),
      { numRuns: 500 },
    );
  });

  it("shows a whole chain that was made anew to whoever noted a head down [audit.head]", () => {
    fc.assert(
      fc.property(chains, chains, (one, other) => {
        fc.pre(headOf(one).hash !== other[one.length - 1]?.hash);
        const own = headOf(other.slice(0, one.length));
        expect(problemOf(other, headOf(other), [own, headOf(one)])).not.toBeNull();
        expect(problemOf(one, headOf(one), [headOf(one)])).toBeNull();
      }),
    );
  });
});

describe("the control plane's audit", () => {
  let folder: string;
  let path: string;
  let plane: TestPlane | null;
  const error = vi.fn();
  const start = async () => {
    const log = { debug() {}, info() {}, warn() {}, error };
    plane = await startTestPlane({ path, log });
    return plane;
  };
  const stop = async () => {
    await plane?.close();
    plane = null;
  };
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "stateplane-audit-"));
    path = join(folder, "plane.sqlite");
    error.mockReset();
  });
  afterEach(async () => {
    await stop();
    await rm(folder, { recursive: true });
  });

  const verify = async (...more: string[]) => {
    const env = { CONTROL_PLANE_URL: plane?.url ?? "", FD_API_KEY: apiKey };
    return runCli(["audit", "verify", ...more], { cwd: folder, env });
  };
  /** As one with the file and SQLite's own tools would. */
  const tamper = (sql: string) => {
    const db = new DatabaseSync(path);
    db.exec(`DROP TRIGGER audit_never_changes; DROP TRIGGER audit_never_shrinks; ${sql}`);
    db.close();
  };
  const fill = async () => {
    const { createRun, fetch, close } = await start();
    for (const task of ["a", "b", "c"]) {
      const { runId } = await createRun({ task });
      await fetch("POST", `/v1/runs/${runId}/cancel`);
    }
    await close();
  };

  it("says who did what, and verifies", async () => {
    await fill();
    const { api } = await start();
    const all = value(await auditApi(api).entries(0, 1000, signal));
    expect(all.map(({ event }) => event)).toEqual([
      "agent.version_created",
      ...["a", "b", "c"].flatMap(() => ["run.created", "run.cancelled"]),
    ]);
    expect(all.map(({ by }) => by === "system")).toEqual(all.map((_, at) => at === 0));
    const { stdout, code } = await verify();
    expect([code, stdout]).toEqual([0, expect.stringContaining("whole: 7 entries")]);
  });

  it("keeps by itself whoever writes through SQLite from changing or deleting an entry", async () => {
    await fill();
    const db = new DatabaseSync(path);
    expect(() => db.exec("DELETE FROM audit_chain")).toThrow("only added to");
    expect(() => db.exec("UPDATE audit_chain SET doc = '{}'")).toThrow("only added to");
    db.close();
  });

  it.each([
    [
      "a changed row",
      "UPDATE audit_chain SET doc = json_set(doc, '$.by', 'me') WHERE seq = 3",
      "entry 3",
    ],
    [
      "a row that is no entry any more",
      "UPDATE audit_chain SET doc = '7' WHERE seq = 3",
      "entry 3",
    ],
    ["a row taken out", "DELETE FROM audit_chain WHERE seq = 4", "entry 4 is missing"],
    ["the end cut off", "DELETE FROM audit_chain WHERE seq > 5", "the end was cut off"],
    [
      "the end cut off with the head that is beside it",
      "DELETE FROM audit_chain WHERE seq > 5; UPDATE audit_head SET count = 5, hash = (SELECT hash FROM audit_chain WHERE seq = 5)",
      "the end was cut off: there are 5 entries, and there were 7",
    ],
    ["all of it", "DELETE FROM audit_chain; DELETE FROM audit_head", "the end was cut off"],
  ])("with %s is found [audit.cut]", async (_, sql, said) => {
    await fill();
    tamper(sql);
    await start();
    const { code, stderr } = await verify();
    expect([code, stderr]).toEqual([1, expect.stringContaining(said)]);
  });

  it("cut off is logged at the next start, and the file that witnesses it is left alone", async () => {
    await fill();
    const witness = await readFile(`${path}.audit-head`, "utf8");
    tamper(
      "DELETE FROM audit_chain WHERE seq > 5; UPDATE audit_head SET count = 5, hash = (SELECT hash FROM audit_chain WHERE seq = 5)",
    );
    const { createRun } = await start();
    await createRun();
    await createRun();
    await createRun();
    expect(error).toHaveBeenCalledWith(expect.anything(), expect.stringContaining("audit verify"));
    await stop();
    expect(await readFile(`${path}.audit-head`, "utf8")).toBe(witness);
    await start();
    expect((await verify()).code).toBe(1);
  });

  it("is held to a head that was noted down elsewhere", async () => {
    await fill();
    await start();
    const [, head = ""] = /(\d+:[0-9a-f]{64})/.exec((await verify()).stdout) ?? [];
    await stop();
    await rm(path);
    await rm(`${path}.audit-head`);
    await fill();
    await start();
    expect((await verify()).code).toBe(0);
    expect(await verify("--head", head)).toMatchObject({ code: 1 });
    expect(await verify("--head", "7")).toMatchObject({ code: 2 });
  });

  it("with a head file that can't be read is told, and not taken for whole", async () => {
    await fill();
    await writeFile(`${path}.audit-head`, "{");
    await start();
    expect((await verify()).code).toBe(1);
  });
});
