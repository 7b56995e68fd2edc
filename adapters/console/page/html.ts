import { h } from "preact";
import htm from "htm";

/** Its types are of a CommonJS module, which it is not. */
const tagged = htm as unknown as typeof htm.default;

/** Markup as a tagged template. What stands in it as a value is text, never markup: preact escapes it. */
export const html = tagged.bind(h);
