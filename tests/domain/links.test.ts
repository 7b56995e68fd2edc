import * as fc from "fast-check";
import MarkdownIt from "markdown-it";
import { parse } from "parse5";
import { describe, expect, it } from "vitest";
import {
  createOutputScreen,
  type OutputRule,
  outputRules,
} from "../../machines/contracts/domain/screening/output-rules.ts";

const off = Object.fromEntries(outputRules.map((rule) => [rule, "off"]));
const screenOf = (linkHosts: string[]) =>
  createOutputScreen({
    rules: { ...(off as Record<OutputRule, "off">), activeLinks: "redact", foreignLinks: "redact" },
    linkHosts,
  });
const usual = screenOf([]);
const listed = screenOf(["docs.example.com"]);

/** What browsers and Markdown's readers make of a text, by parsers that others wrote for them. */
const markdown = new MarkdownIt({ html: true });
markdown.validateLink = () => true;

interface Link {
  address: string;
  isLoaded: boolean;
}
type Node = { nodeName: string; attrs?: { name: string; value: string }[]; childNodes?: Node[] };

function* linksOf(node: Node): Generator<Link> {
  for (const { name, value } of node.attrs ?? []) {
    if (["src", "poster", "background"].includes(name)) yield { address: value, isLoaded: true };
    if (name === "href")
      yield { address: value, isLoaded: ["link", "image", "use"].includes(node.nodeName) };
    if (name === "action" || name === "formaction") yield { address: value, isLoaded: false };
    if (name === "srcset") {
      for (const one of value.split(/[\s,]+/u)) yield { address: one, isLoaded: true };
    }
    if (name === "srcdoc") yield* linksOf(parse(value) as Node);
  }
  for (const child of node.childNodes ?? []) yield* linksOf(child);
}

const isHostile = ({ address, isLoaded }: Link, hosts: readonly string[]): boolean => {
  const read = URL.parse(address, "http://page.invalid/");
  if (read === null) return false;
  if (read.protocol === "javascript:") return /\S/u.test(read.pathname + read.search);
  if (!read.protocol.startsWith("http") || read.hostname === "page.invalid") return false;
  if (hosts.includes(read.hostname)) return false;
  return hosts.length > 0 || (isLoaded && read.search.length > 1);
};

const hostile = (text: string, hosts: readonly string[] = []): Link[] =>
  [...linksOf(parse(text) as Node), ...linksOf(parse(markdown.render(text)) as Node)].filter(
    (link) => isHostile(link, hosts),
  );

const addresses = fc.constantFrom(
  "https://evil.test/?q=1",
  "//evil.test/?q=1",
  "https:\\\\evil.test/?q=1",
  "/\\evil.test?q=1",
  "https:evil.test/?q=1",
  "HTTPS://evil.test?q=1",
  "ht\ntps://evil.test/?q=1",
  "&#104;ttps&colon;//evil.test/?q=1",
  "https&#58;&#x2f/evil.test/?q=1",
  "https:&sol;&sol;evil.test/?q=1",
  "https:\\/\\/evil.test/?q=1",
  " \u0001https://evil.test/?q=1",
  "https://docs.example.com@evil.test/?q=1",
  'https://docs.example.com"@evil.test/?q=1',
  "https://evil%2etest/?q=1",
  "https://evil。test/?q=1",
  "javascript:alert(1)",
  "JaVa\tScript:alert(1)",
  "java&NewLine;script&colon;alert(1)",
  "&#x6A&#x61vascript:alert(1)",
  "java\\script:alert(1)",
  "javascript\\:alert(1)",
);
const pieces = fc.constantFrom(
  ..."<>\"'`=/\\&;![]() \n\t",
  "\n\n",
  "![",
  "](",
  "]: ",
  "<img ",
  "<a ",
  "</a>",
  "<svg><image ",
  "<iframe srcdoc='",
  "<form ",
  "<!--",
  "-->",
  "<style>",
  "<script>",
  "<textarea>",
  "src=",
  "src = ",
  'src="',
  "src='",
  "href=",
  'HREF="',
  "srcset=",
  'srcset="/a.png 1x, ',
  'action="',
  'alt=">"',
  "alt=",
  'x="',
  "x='",
  "text",
  "> ",
  "```\n",
  "&lt;img src=",
  "&gt;",
  "[r]",
);
const texts = fc.oneof(
  fc.array(fc.oneof(pieces, addresses), { minLength: 2, maxLength: 14 }).map((all) => all.join("")),
  fc
    .tuple(
      fc.constantFrom(
        ["![a](", ")"],
        ["![a](<", ">)"],
        ["![a](\n", ' "title")'],
        ["![a][r]\n\n[r]: ", "\n"],
        ["![a][r]\n\n[r]:\n  <", ">\n"],
        ["[a](", ")"],
        ["<img src=", ">"],
        ['<img alt=">" src="', '">'],
        ["<img/src='", "'/>"],
        ["<IMG\nSRC\n=\n'", "'>"],
        ['<img srcset="a.png 1x,', ' 2x">'],
        ["<video poster='", "'>"],
        ["<form action='", "'>"],
        ["<svg><use xlink:href='", "'>"],
        ["<svg><image href='", "'>"],
        ["<iframe srcdoc=\"<img src='", "'>\">"],
        ["<p title='<img src=\"", "\">'>"],
      ),
      addresses,
      fc.array(pieces, { maxLength: 4 }),
      fc.array(pieces, { maxLength: 4 }),
    )
    .map(([[open = "", close = ""], address, before, after]) =>
      [...before, open, address, close, ...after].join(""),
    ),
);

describe("a link in what a step gives on", () => {
  it("is found wherever and however a browser or a reader of Markdown finds it [screening.links]", () => {
    let count = 0;
    fc.assert(
      fc.property(texts, (text) => {
        for (const [screen, hosts] of [
          [usual, []],
          [listed, ["docs.example.com"]],
        ] as const) {
          const found = hostile(text, hosts);
          if (found.length === 0) continue;
          count += 1;
          expect([found, screen(text).findings.length > 0]).toEqual([found, true]);
          // As one string of JSON in a text, and in another one.
          const json = JSON.stringify({ text });
          expect([json, screen(json).findings.length > 0]).toEqual([json, true]);
          expect(() => JSON.parse(String(screen(json).value))).not.toThrow();
          const twice = JSON.stringify({ json });
          expect([twice, screen(twice).findings.length > 0]).toEqual([twice, true]);
        }
      }),
      { numRuns: 600 },
    );
    expect(count).toBeGreaterThan(200);
  });

  it.each([
    '<style>@import "https://evil.test/?q=1";</style>',
    "@import/**/url(//evil.test/?q)",
    "<p style='background:u\\72l(h\\74tps://evil.test/?a)'>",
    "<style>a{background:\\75rl('https://evil.test/?a')}</style>",
    "<style>a{background:image-set('https://evil.test/?a' 1x)}</style>",
    '<p style="background:url(&quot;ht&#116;ps://evil.test/?a&quot;)">',
    '<meta http-equiv="refresh" content="0;url=https://evil.test/?q=1">',
    "<meta http-equiv=refresh content='1, //evil.test/?q'>",
    "<base href=//evil.test>",
    "<svg><a><animate attributeName=href values='#;javascript:alert(1)'>",
    '<iframe srcdoc="&lt;img src=https://evil.test/?q&gt;">',
    '{"a":"\\u003cimg src=\\"https://evil.test/?q\\"\\u003e"}',
    `<img alt="${"a".repeat(5_000)}" src="https://evil.test/?q=1">`,
    `<img src="${"\t".repeat(9_000)}https://evil.test/?q">`,
    `<img src=${"&Tab;".repeat(400)}https://evil.test/?q>`,
    "![a `]` b](https://evil.test/?q)",
    "![a `[` b](https://evil.test/?q)",
    "![a [b](c) d](https://evil.test/?q)",
    "java\tscript:alert(1)",
    " data:text/html,<script>x</script>",
  ])(
    "is found in styles, in what sends a reader on, and behind much else: %s [screening.links]",
    (text) => {
      expect(usual(text).findings).toHaveLength(1);
      expect(usual(String(usual(text).value)).findings).toEqual([]);
    },
  );

  it("is none in what only looks like one [screening.quiet]", () => {
    const harmless = fc.constantFrom(
      "if (a <b && c> d) { x = y[0](https); }",
      "<a href='/local?x=1'>here</a>",
      "<img src='logo.png?v=2'>",
      "![logo](https://img.shields.io/npm/v/x.svg)",
      "[docs](https://docs.example.com/a?b=c)",
      "Map<string, URL> and a.src = 'x'",
      "background: url(/a.png?x)",
      "url('#id')",
      "JavaScript: the good parts",
      "<https://docs.example.com>",
      "[1]: see page 3",
      "![](data:image/png;base64,iVBORw0KGgo=)",
      "<p style='color: red'>",
      '<a href="mailto:a@b.example?subject=x">',
      "@import './local.css'",
      "x = data[i](y)",
      "\n\n",
      " and ",
    );
    fc.assert(
      fc.property(fc.array(harmless, { maxLength: 6 }), (parts) => {
        for (const text of [parts.join(" "), JSON.stringify(parts.join(" "))]) {
          expect(usual(text).findings).toEqual([]);
        }
      }),
      { numRuns: 300 },
    );
  });
});
