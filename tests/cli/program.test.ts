import { describe, expect, it } from "vitest";
import * as fc from "fast-check";
import stringWidth from "string-width";
import { settingSources } from "../../cli/config/setting-sources.ts";
import { flagsOf, parseCommand } from "../../cli/program.ts";
import { groups, specs } from "../../cli/specs.ts";

const problem = (...argv: string[]) => {
  const parsed = parseCommand(argv);
  return parsed.kind === "usage" ? parsed.problem : `not a usage error: ${parsed.kind}`;
};

const help = (...argv: string[]) => {
  const parsed = parseCommand(argv);
  return parsed.kind === "help" ? parsed.text : `not help: ${parsed.kind}`;
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

  it.each([
    ["runs show run_1", "runs get"],
    ["steps get run_1 stp_1", "steps show"],
    ["dlq get 1-0", "dlq show"],
  ])("takes `%s` for `%s`", (line, command) => {
    expect(parseCommand(line.split(" "))).toMatchObject({ kind: "run", invocation: { command } });
  });

  it("takes what follows -- as it is", () => {
    const parsed = parseCommand(["runs", "get", "--", "--odd-id"]);
    expect(parsed).toMatchObject({ kind: "run", invocation: { args: ["--odd-id"] } });
  });

  it("takes the flags of every command before its name, after it and at the end", () => {
    const wanted = { command: "runs get", args: ["run_1"], isJson: true, configFile: "a.yaml" };
    const places = [
      ["--json", "--config", "a.yaml", "runs", "get", "run_1"],
      ["runs", "--json", "get", "--config=a.yaml", "run_1"],
      ["runs", "get", "run_1", "--json", "--config", "a.yaml"],
    ];
    for (const argv of places) {
      expect(parseCommand(argv)).toMatchObject({ kind: "run", invocation: wanted });
    }
  });

  it("answers help for the program, a group and a command, in every usual spelling", () => {
    expect(help("--help")).toContain("Usage: stateplane [options] <command>");
    expect(help("help")).toBe(help("--help"));
    expect(help()).toBe(help("--help"));
    expect(help("help", "runs", "get")).toContain(
      "Usage: stateplane runs get|show [options] <run>",
    );
    expect(help("runs", "--help")).toContain("cancel [options] <run>");
    expect(help("runs", "get", "-h")).toBe(help("help", "runs", "get"));
    expect(help("submit", "--help")).toContain("--task <text>");
    for (const version of ["--version", "-v", "version"]) {
      expect(parseCommand([version])).toEqual({ kind: "version" });
    }
  });

  it("names what was wrong, and what would have been right", () => {
    expect(problem("submitt")).toBe("unknown command 'submitt'; did you mean submit?");
    expect(problem("help", "submitt")).toContain("did you mean submit?");
    expect(problem("runs", "lst")).toBe("runs: unknown command 'lst'; did you mean list?");
    expect(problem("runs")).toBe("runs: expected list, get, watch, trace or cancel");
    expect(problem("submit")).toBe("submit: missing required argument 'agent'");
    expect(problem("submit", "a", "b")).toContain("Quote a text that has spaces.");
    expect(problem("submit", "a", "--wach")).toBe(
      "submit: unknown option '--wach'; did you mean --watch?",
    );
    expect(problem("submit", "a", "--task")).toContain("'--task <text>' argument missing");
    expect(problem("submit", "a", "--watch=yes")).toContain("unknown option '--watch=yes'");
  });

  it("refuses a setting that the command would pass over in silence", () => {
    expect(problem("submit", "a", "--task", "t", "--concurrency", "3")).toContain(
      "unknown option '--concurrency'",
    );
  });

  it("survives flags and commands named after what every object has", () => {
    expect(problem("config", "--constructor")).toContain("unknown option '--constructor'");
    expect(problem("toString")).toContain("unknown command 'toString'");
    expect(problem("help", "toString")).toContain("unknown command 'toString'");
  });

  it("answers any words with a value, never by throwing", () => {
    const word = fc.oneof(
      fc.constantFrom(...Object.keys(specs).flatMap((name) => name.split(" "))),
      fc.constantFrom("--", "-", "--json", "--help", "--config", "-v", "help", "--task", "=", ""),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 6 }), (argv) => {
        expect(["run", "help", "version", "usage"]).toContain(parseCommand(argv).kind);
      }),
      { numRuns: 300 },
    );
  });

  it("says of a command's own flag what the command does with it, also where a setting has the name", () => {
    for (const name of Object.keys(specs) as (keyof typeof specs)[]) {
      const own = (specs[name] as { flags?: object }).flags ?? {};
      expect(flagsOf(name), name).toMatchObject(own);
    }
  });

  it("says in words what each group of commands and each flag is for, and offers none that is ignored", () => {
    const names = Object.keys(specs) as (keyof typeof specs)[];
    const firsts = names.filter((name) => name.includes(" ")).map((name) => name.split(" ")[0]);
    expect(Object.keys(groups).toSorted()).toEqual([...new Set(firsts)].toSorted());
    const settings = new Set(Object.values(settingSources).map(({ flag }) => flag));
    for (const name of names) {
      const own = Object.keys((specs[name] as { flags?: object }).flags ?? {});
      for (const [flag, { help: words }] of Object.entries(flagsOf(name))) {
        expect(`${name} --${flag}: ${words}`).toMatch(/: \w/u);
        expect(own.includes(flag) || settings.has(flag), `${name} --${flag}`).toBe(true);
      }
    }
    expect(problem("top", "--queuePrefix", "other:")).toContain("--queuePrefix");
  });

  it("says what a group does in the names of its commands, so that what one reads there one can type", () => {
    // The commands of `mcp` are names of servers.
    const verbs = Object.entries(groups).flatMap(([group, summary]) => {
      const [said = ""] = /^(?:\w+, )*\w+(?: and \w+)?/u.exec(summary) ?? [];
      return group === "mcp" ? [] : said.split(/, | and /u).map((verb) => `${group} ${verb}`);
    });
    expect(verbs.filter((command) => !Object.hasOwn(specs, command))).toEqual([]);
  });

  it.each([60, 80, 140])("has help for every command that fits %i columns", (columns) => {
    const all = [[], ...Object.keys(groups).map((name) => [name])].concat(
      Object.keys(specs).map((name) => name.split(" ")),
    );
    for (const words of all) {
      const parsed = parseCommand([...words, "--help"], columns);
      if (parsed.kind !== "help") throw new Error(`${words.join(" ")}: ${parsed.kind}`);
      const wide = parsed.text.split("\n").filter((line) => stringWidth(line) > columns);
      expect(wide).toEqual([]);
      const isCommand = words.length > 0 && Object.hasOwn(specs, words.join(" "));
      if (isCommand) expect(parsed.text).toMatch(/\nExamples:\n {2}.*(?:stateplane|REDIS_URL)/);
    }
  });
});
