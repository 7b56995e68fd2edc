import * as fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { localVerdict } from "../../actors/step/verdicts.ts";
import type { Allowlist } from "../../actors/options.ts";
import { matchesGlob } from "../../machines/contracts/domain/glob.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import {
  couldMean,
  isHeldBack,
  isListed,
  namesTool,
  ruleTool,
  type ToolRule,
} from "../../machines/contracts/domain/tool-lists.ts";
import { cpuMs } from "../support/cpu-time.ts";

const letters = fc.string({
  unit: fc.constantFrom("a", "b", "/", "*", "?", ".", "🙂"),
  maxLength: 7,
});
const names = fc.constantFrom("push", "pull", "a/push", "push*", "git/push");
const servers = fc.constantFrom(null, "git", "hub", "git/hub");
const entries = fc.oneof(
  fc.constantFrom("*", "p*", "git/*", "*/push", "g*/pu??", "push", "git/push", "hub/a/*", "**/*"),
  letters.filter((text) => text !== ""),
);
const values = fc.constantFrom("main", "docs/a", "docs/../main", "", 1, true, "1");
const patterns = fc.oneof(
  fc.constantFrom("main", "docs/*", "*", "", 1, true, "1"),
  fc.array(fc.constantFrom("main", "docs/*", 1, true), { maxLength: 2 }),
);
const keys = fc.constantFrom("branch", "force", "toString");
const rules: fc.Arbitrary<ToolRule> = fc.oneof(
  entries,
  fc.record(
    { tool: entries, when: fc.dictionary(keys, patterns, { maxKeys: 2 }) },
    { requiredKeys: ["tool"] },
  ),
);
const inputs: fc.Arbitrary<JsonObject> = fc.dictionary(
  keys,
  fc.oneof(values, fc.array(values, { maxLength: 3 }), fc.constantFrom(null, {})),
  { maxKeys: 3 },
);
const calls = fc.record({ server: servers, name: names, input: inputs });
const someRules = fc.array(rules, { maxLength: 3 });
const allowlists = fc.record({
  allowed: someRules,
  approvalRequired: someRules,
  denied: someRules,
});

const order = ["deny", "ask", "allow"];
const rank = (call: Parameters<typeof isListed>[1], list: Allowlist) =>
  order.indexOf(localVerdict(call, list, null).kind);

describe("a wildcard", () => {
  it("is as a regular expression would have it, whatever stands around it", () => {
    fc.assert(
      fc.property(letters, letters, (pattern, text) => {
        const source = [...pattern]
          .map((one) => (one === "*" ? "[^]*" : one === "?" ? "[^]" : `[${one}]`))
          .join("");
        expect(matchesGlob(pattern, text)).toBe(new RegExp(`^${source}$`, "u").test(text));
      }),
      { numRuns: 2_000 },
    );
  });

  it("takes no longer than both lengths say, however many there are", () => {
    const begun = cpuMs();
    expect(matchesGlob("*a".repeat(500), `${"a".repeat(10_000)}b`)).toBe(false);
    expect(cpuMs() - begun).toBeLessThan(1_000);
  });

  test.each([
    ["read*", { server: "readers", name: "erase" }, false],
    ["read*", { server: "files", name: "read/all" }, true],
    ["git/*", { server: "git", name: "a/push" }, true],
    ["git/*", { server: "evil", name: "git/push" }, false],
    ["git/*", { server: null, name: "git/push" }, false],
    ["*/push", { server: "hub", name: "push" }, true],
    ["git*/push", { server: "git/hub", name: "push" }, true],
    ["github.com/acme/*", { server: "github.com/acme", name: "issue.read" }, true],
    ["a.b", { server: "a", name: "b" }, false],
    ["a*b", { server: "s", name: "a*b" }, true],
  ])("%s, of %j: %s", (entry, pair, expected) => {
    expect(namesTool(entry, pair)).toBe(expected);
  });
});

test("an entry with a slash lets through no tool of another server that is named so", () => {
  const evil = { server: "evil", name: "github/create_issue", input: null };
  expect(isListed(["github/create_issue"], evil)).toBe(false);
  expect(isHeldBack(["github/create_issue"], evil)).toBe(true);
  expect(isListed(["evil/github/create_issue"], evil)).toBe(true);
  expect(isListed(["github/create_issue"], { ...evil, server: null })).toBe(true);
});

describe("an entry with conditions", () => {
  const push = (input: JsonObject) => ({ server: "git", name: "git_push", input });
  const rule = (
    when: Record<string, string | number | boolean | (string | number | boolean)[]>,
  ) => [{ tool: "git/git_push", when }];

  test.each([
    [{ branch: "docs/*" }, { branch: "docs/a/b" }, "yes"],
    [{ branch: "docs/*" }, { branch: "main" }, "no"],
    [{ branch: "docs/*" }, {}, "unknown"],
    [{ branch: "docs/*" }, { branch: "docs/../main" }, "unknown"],
    [{ branch: "docs/*" }, { branch: ["docs/a", "docs/b"] }, "yes"],
    [{ branch: "docs/*" }, { branch: ["docs/a", "main"] }, "unknown"],
    [{ branch: "docs/*" }, { branch: [] }, "unknown"],
    [{ branch: ["main", "docs/*"] }, { branch: "main" }, "yes"],
    [{ branch: "docs/*", force: false }, { branch: "docs/a", force: true }, "no"],
    [{ branch: "docs/*", force: false }, { branch: "docs/a" }, "unknown"],
    [{ branch: "docs/*" }, { branch: "docs//a" }, "yes"],
    [{ branch: "docs/*" }, { branch: "Docs/a" }, "unknown"],
    [{ branch: "docs/*" }, { branch: "/work/docs/a" }, "unknown"],
    [{ branch: "docs/*" }, { branch: "/work/main" }, "no"],
    [{ branch: "/work/docs/*" }, { branch: "docs/a" }, "unknown"],
    [{ branch: "*.env" }, { branch: "prod.env. ." }, "unknown"],
    [{ branch: "*" }, { branch: "../a" }, "yes"],
    [{ branch: "https://a.example/*" }, { branch: "https://a.example/b//c" }, "yes"],
    [{ branch: "https://a.example/*" }, { branch: "https://a.example/../b" }, "unknown"],
    [{ force: true }, { force: "true" }, "unknown"],
    [{ toString: "*" }, {}, "unknown"],
    [{ branch: "*" }, { branch: { name: "main" } }, "unknown"],
  ] as const)("%j, of a call with %j: %s", (when, input, expected) => {
    const list = rule(when as never);
    const call = push(input as unknown as JsonObject);
    // What can't be told is let through by no list, and held back by every one.
    expect(isListed(list, call)).toBe(expected === "yes");
    expect(isHeldBack(list, call)).toBe(expected !== "no");
  });

  it("holds back a denied path however it is spelled, and lets through none that is not allowed [policy.spelled]", () => {
    const files = fc.constantFrom("prod.env", "etc/passwd", "secrets/prod/k", "docs/a", "docs/a/b");
    const changes: ((path: string) => string)[] = [
      (path) => path.replaceAll("/", "//"),
      (path) => `${path}/`,
      (path) => `${path}/.`,
      (path) => `./${path}`,
      (path) => `x/../${path}`,
      (path) => `${path}/x/..`,
      (path) => path.toUpperCase(),
      (path) => path.replaceAll("/", "\\"),
      (path) => path.replaceAll("/", "%2F"),
      (path) => path.replaceAll("e", "%65").replaceAll("d", "%64"),
      (path) => path.replaceAll("%", "%25"),
      (path) => `${path}\0.txt`,
      (path) => ` ${path}\n`,
      (path) => path.replaceAll("e", "ｅ"),
    ];
    const globs = fc.constantFrom("*.env", "etc/*", "secrets/prod/*", "docs/*", "*/k", "docs/a");
    const spelled = fc.array(fc.constantFrom(...changes), { maxLength: 3 });
    const places = fc.constantFrom("", "", "/work/");
    fc.assert(
      fc.property(files, globs, spelled, places, (file, pattern, steps, place) => {
        const call = (branch: string) => push({ branch });
        const list = rule({ branch: pattern });
        const other = place + steps.reduce<string>((path, change) => change(path), file);
        if (matchesGlob(pattern, file)) expect(isHeldBack(list, call(other))).toBe(true);
        else expect(isListed(list, call(other))).toBe(false);
      }),
      { numRuns: 3_000 },
    );
  });

  it("offers its tool, and lets through the calls that it speaks of", () => {
    const allowlist = { allowed: rule({ branch: "docs/*" }), approvalRequired: [], denied: [] };
    const kind = (input: JsonObject | null) =>
      localVerdict({ server: "git", name: "git_push", input }, allowlist, null);
    expect(kind(null).kind).toBe("allow");
    expect(kind({ branch: "docs/a" }).kind).toBe("allow");
    expect(kind({ branch: "main" })).toEqual({
      kind: "deny",
      reason: "tool 'git/git_push' is not allowed with these arguments on this worker",
    });
  });
});

describe("lists of any entries", () => {
  it("deny before they ask, and ask before they allow [policy.order]", () => {
    fc.assert(
      fc.property(calls, allowlists, (call, lists) => {
        const { allowed, approvalRequired, denied } = lists;
        const said = localVerdict(call, lists, null).kind;
        if (isHeldBack(denied, call)) expect(said).toBe("deny");
        else if (!isListed([...allowed, ...approvalRequired], call)) expect(said).toBe("deny");
        else if (isHeldBack(approvalRequired, call)) expect(said).toBe("ask");
        else expect(said).toBe("allow");
        // What surely speaks of a call can't be ruled out either.
        for (const list of [allowed, approvalRequired, denied]) {
          if (isListed(list, call)) expect(isHeldBack(list, call)).toBe(true);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("are loosened by no entry more in denied and by none fewer in allowed, in whatever order they stand [policy.order]", () => {
    fc.assert(
      fc.property(calls, allowlists, rules, (call, lists, rule) => {
        const { allowed, approvalRequired, denied } = lists;
        const before = rank(call, lists);
        expect(rank(call, { ...lists, denied: [...denied, rule] })).toBeLessThanOrEqual(before);
        expect(rank(call, { ...lists, allowed: allowed.slice(1) })).toBeLessThanOrEqual(before);
        const asked = rank(call, { ...lists, approvalRequired: [rule, ...approvalRequired] });
        if (before > 0) expect(asked).toBeLessThanOrEqual(before);
        expect(asked).toBeLessThanOrEqual(Math.max(before, 1));
        const turned = {
          allowed: allowed.toReversed(),
          approvalRequired: approvalRequired.toReversed(),
          denied: denied.toReversed(),
        };
        expect(rank(call, turned)).toBe(before);
      }),
      { numRuns: 2_000 },
    );
  });

  it("are never refused by spelling alone what some server's tool would be let through as", () => {
    fc.assert(
      fc.property(rules, calls, (rule, call) => {
        fc.pre(namesTool(ruleTool(rule), call));
        expect(couldMean(ruleTool(rule), call.name)).toBe(true);
        expect(couldMean(ruleTool(rule), `${call.server}/${call.name}`)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});
