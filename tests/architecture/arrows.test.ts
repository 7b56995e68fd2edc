import { describe, expect, it } from "vitest";
import { sourceFiles } from "./source-files.ts";

const files = sourceFiles();

/** What each part may import of ours, and why the arrow points that way. */
const arrows: readonly { from: string; may: readonly string[]; why: string }[] = [
  {
    from: "machines/contracts/",
    may: ["machines/contracts/"],
    why: "contracts are the words everybody shares: they know nobody",
  },
  {
    from: "machines/",
    may: ["machines/"],
    why: "a chart says what may happen; the world is reached by actors, through ports",
  },
  {
    from: "actors/",
    may: ["actors/", "machines/"],
    why: "actors see adapters as port types only, so that any neighbour can stand in",
  },
  {
    from: "tools/",
    may: ["tools/"],
    why: "a tool server is a process of its own: it must run without us",
  },
  {
    from: "evals/",
    may: ["evals/", "machines/contracts/", "adapters/control-plane/"],
    why: "evals are a client of the control plane",
  },
  {
    from: "cli/",
    may: ["cli/", "machines/", "actors/", "adapters/", "evals/"],
    why: "the command line composes everything, and nobody composes it",
  },
];

/** Packages a part may not touch. */
const packages: readonly { from: string; only?: RegExp; never?: RegExp; why: string }[] = [
  {
    from: "machines/",
    only: /^(xstate|arktype)$/,
    why: "the chart cannot reach the world: no I/O, no clock, no environment",
  },
  {
    from: "adapters/",
    never: /^(xstate|@xstate\/)/,
    why: "adapters know the world, not the machines",
  },
];

const isOurs = (specifier: string) =>
  /^(machines|actors|adapters|tools|evals|cli|tests|examples)\//.test(specifier);

describe("imports point one way", () => {
  it.each(arrows)("$from imports only what it may: $why", ({ from, may }) => {
    const wrong = files
      .filter(({ path }) => path.startsWith(from))
      .flatMap(({ path, imports }) =>
        imports
          .filter((target) => isOurs(target) && !may.some((prefix) => target.startsWith(prefix)))
          .map((target) => `${path} imports ${target}`),
      );
    expect(wrong).toEqual([]);
  });

  it("an adapter imports contracts and its own folder, never another adapter", () => {
    const wrong = files
      .filter(({ path }) => path.startsWith("adapters/"))
      .flatMap(({ path, imports }) => {
        const own = path.split("/").slice(0, 2).join("/");
        return imports
          .filter((target) => isOurs(target))
          .filter(
            (target) => !target.startsWith(`${own}/`) && !target.startsWith("machines/contracts/"),
          )
          .map((target) => `${path} imports ${target}`);
      });
    expect(wrong).toEqual([]);
  });

  it.each(packages)("$from keeps to its packages: $why", ({ from, only, never }) => {
    const wrong = files
      .filter(({ path }) => path.startsWith(from))
      .flatMap(({ path, imports }) =>
        imports
          .filter((target) => !isOurs(target))
          .filter(
            (target) => (only !== undefined && !only.test(target)) || never?.test(target) === true,
          )
          .map((target) => `${path} imports ${target}`),
      );
    expect(wrong).toEqual([]);
  });

  it("nothing that ships imports the tests", () => {
    const wrong = files
      .filter(({ path }) => !path.startsWith("tests/"))
      .flatMap(({ path, imports }) =>
        imports
          .filter((target) => target.startsWith("tests/"))
          .map((target) => `${path} imports ${target}`),
      );
    expect(wrong).toEqual([]);
  });
});

describe("files stay small enough to read", () => {
  it("none is over 400 lines", () => {
    const long = files
      .filter(({ lines }) => lines > 400)
      .map(({ path, lines }) => `${path}: ${lines}`);
    expect(long).toEqual([]);
  });

  it("nine in ten of those that ship are under 250", () => {
    const lengths = files
      .filter(({ path }) => !path.startsWith("tests/"))
      .map(({ lines }) => lines)
      .sort((a, b) => a - b);
    expect(lengths[Math.floor(lengths.length * 0.9)]).toBeLessThan(250);
  });
});
