import type { SettingKey } from "./config/settings.ts";
import type { CommandSpec } from "./specs.ts";

const place = ["dataDir"] as const satisfies SettingKey[];

/** The commands of the collections that this machine keeps. */
export const retrievalSpecs = {
  "retrieval ingest": {
    args: ["name", "path?"],
    summary: "read files into a collection; exit 1 if one can't be read",
    flags: {
      "keep-deleted": {
        type: "switch",
        help: "keep what is gone from the folders; else it is removed",
      },
    },
    settings: [...place],
    notes: [
      "Reads the sources that the configuration gives under collections, or the one file or folder that is named: Markdown, text, code and PDF. Only what changed is read again. Names that begin with a dot, node_modules and links are passed over.",
    ],
    example: ["stateplane retrieval ingest docs", "stateplane retrieval ingest docs docs/guide"],
  },
  "retrieval search": {
    args: ["name", "query"],
    summary: "search a collection, as a retrieval step does",
    flags: {
      "top-k": {
        type: "text",
        value: "n",
        help: "at most n results, from 1 to 100 (default 5)",
      },
      source: {
        type: "text",
        value: "glob",
        help: "only from files with such a name, such as docs/*.md",
      },
      kind: { type: "text", value: "kind", help: "only from markdown, text, code or pdf" },
    },
    settings: [...place],
    example: ['stateplane retrieval search docs "how long does an approval wait?"'],
  },
  "retrieval collections": {
    args: [],
    summary: "list the collections, and what they hold",
    settings: [...place],
    example: ["stateplane retrieval collections --json"],
  },
} as const satisfies Record<string, CommandSpec>;
