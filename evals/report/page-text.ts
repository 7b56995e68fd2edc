import { cutText } from "../../machines/contracts/domain/text.ts";

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * Foreign text as text of a page: no markup, and what nobody would see, or what turns the direction of what follows,
 * stands there as its code.
 *
 * @param room how many characters are kept; what is left out is said
 */
export function escaped(text: string, room = 20_000): string {
  const kept = cutText(text, room)
    .replaceAll(/(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (letter) => {
      const code = (letter.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
      return `‹U+${code}›`;
    })
    .replaceAll(/[&<>"']/g, (letter) => entities[letter] ?? "");
  const more = text.length - room;
  return more > 0 ? `${kept}… (${more} more characters are in the JSON report)` : kept;
}

/** A table that can be scrolled sideways; cells are markup already. */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  label: string,
): string {
  const head = headings.map((heading) => `<th scope="col">${escaped(heading)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join("")}</tr>`);
  return `<div class="wide"><table aria-label="${escaped(label)}"><thead><tr>${head}</tr></thead><tbody>${body.join("")}</tbody></table></div>`;
}

/** A document in a box: a text as it stands, anything else as JSON. */
export function box(value: unknown, room: number, label: string): string {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return `<pre tabindex="0" aria-label="${escaped(label)}">${escaped(text ?? "", room)}</pre>`;
}
