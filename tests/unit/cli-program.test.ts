import { describe, expect, it } from "vitest";
import { help } from "../../cli/help.ts";
import { parseCommand } from "../../cli/program.ts";
import { specs } from "../../cli/specs.ts";

const problem = (...argv: string[]) => {
  const parsed = parseCommand(argv);
  return parsed.kind === "usage" ? parsed.problem : `not a usage error: ${parsed.kind}`;
};

describe("parsing a command line", () => {
  it("tells a command, its arguments, its own flags and the settings given as flags apart", () => {
    const argv = ["submit", "--task", "say hello", "helper", "--watch", "--json"];
    expect(parseCommand([...argv, "--control-plane=http://cp:1"])).toEqual({
      kind: "run",
      invocation: {
        command: "submit",
        args: ["helper"],
        flags: { task: "say hello", watch: true },
        settings: { "control-plane": "http://cp:1" },
        isJson: true,
        isDebug: false,
        configFile: null,
      },
    });
  });

  it("reads commands of two words", () => {
    const parsed = parseCommand(["approvals", "reject", "apr_1", "--note", "no"]);
    expect(parsed).toMatchObject({
      kind: "run",
      invocation: { command: "approvals reject", args: ["apr_1"], flags: { note: "no" } },
    });
  });

  it("takes what follows -- as it is", () => {
    const parsed = parseCommand(["runs", "get", "--", "--odd-id"]);
    expect(parsed).toMatchObject({ kind: "run", invocation: { args: ["--odd-id"] } });
  });

  it("answers help for the program, a group and a command, in every usual spelling", () => {
    expect(parseCommand(["--help"])).toEqual({ kind: "help", of: null });
    expect(parseCommand(["help", "runs", "get"])).toEqual({ kind: "help", of: "runs get" });
    expect(parseCommand(["runs", "--help"])).toEqual({ kind: "help", of: "runs" });
    expect(parseCommand(["runs", "get", "-h"])).toEqual({ kind: "help", of: "runs get" });
    expect(parseCommand(["submit", "--help"])).toEqual({ kind: "help", of: "submit" });
    expect(parseCommand(["--version"])).toEqual({ kind: "version" });
  });

  it("names what was wrong and what would have been right", () => {
    expect(problem()).toBe("no command was given");
    expect(problem("frob")).toContain('unknown command "frob": expected dev, worker, submit');
    expect(problem("runs")).toBe("runs: expected list, get, watch or cancel");
    expect(problem("agents", "frob")).toContain("expected agents list");
    expect(problem("submit")).toBe("submit: AGENT is missing");
    expect(problem("submit", "a", "b")).toContain('unexpected "b"');
    expect(problem("submit", "a", "--frob")).toContain("unknown flag --frob; it takes --task");
    expect(problem("submit", "a", "--task")).toBe("submit: --task needs a value: --task TEXT");
    expect(problem("submit", "a", "--task", "--json")).toContain("--task needs a value");
    expect(problem("submit", "a", "--watch=yes")).toBe("submit: --watch takes no value");
  });

  it("refuses a setting that the command would pass over in silence", () => {
    expect(problem("submit", "a", "--task", "t", "--concurrency", "3")).toContain(
      "unknown flag --concurrency",
    );
  });

  it("survives flags named after what every object has", () => {
    expect(problem("config", "--constructor")).toContain("unknown flag --constructor");
    expect(problem("toString")).toContain('unknown command "toString"');
  });

  it("has help with an example for every command", () => {
    for (const name of Object.keys(specs)) {
      expect(help(name)).toMatch(/For example:\n {2}.*stateplane|For example:\n {2}REDIS_URL=/);
      expect(help(null)).toContain(`stateplane ${name}`);
    }
  });
});
