import { AnchorScanner } from "./anchors.ts";
import { flaggedPassword, flaggedUser, passBesideLogin } from "./command-secrets.ts";
import { namedInLogs, namedInOutputs, pairedSecret } from "./named-secrets.ts";
import { spelledSecret } from "./spelled-secrets.ts";
import { secretForms } from "./secret-forms.ts";
import { type Form, type Found, hideSpans, noSpans, type Span } from "./spans.ts";

/** No form is found in less: the shortest one is a link to nobody knows where, `](//`. */
const shortest = 4;

/** A scanner of all these forms; each text is read once. */
export function scannerOf(forms: readonly Form[]): (text: string) => readonly Span[] {
  const numbered = forms.flatMap(({ anchors }, index) =>
    anchors.map((anchor): [string, number] => [anchor, index]),
  );
  const scanner = new AnchorScanner(numbered);
  return (text) => {
    if (text.length < shortest) return noSpans;
    let spans: Span[] | null = null;
    /** Of each form, where it may match again: what one try has read is not read by the next. */
    let nexts: Map<number, number> | null = null;
    let finders: Map<number, Form["find"]> | null = null;
    scanner.scan(text, (index, at) => {
      if (nexts !== null && at < (nexts.get(index) ?? 0)) return;
      const form = forms[index] as Form;
      let found: Found | null;
      if (form.fresh === undefined) found = form.find(text, at);
      else {
        finders ??= new Map();
        let find = finders.get(index);
        if (find === undefined) finders.set(index, (find = form.fresh()));
        found = find(text, at);
      }
      if (found === null) return;
      nexts ??= new Map();
      nexts.set(index, found.next);
      if (found.span === null) return;
      spans ??= [];
      if ("start" in found.span) spans.push({ ...found.span, kind: form.kind });
      else for (const span of found.span) spans.push(span);
    });
    return spans ?? noSpans;
  };
}

const besideNames = [pairedSecret, spelledSecret, flaggedUser, flaggedPassword, passBesideLogin];

/** In what a step gives on, which must come through as it is. */
export const secretsInOutputs: readonly Form[] = [...secretForms, namedInOutputs, ...besideNames];

/** In logs, spans and error texts, where a word too many costs nothing. */
const inLogs = scannerOf([...secretForms, namedInLogs, ...besideNames]);

/** The text with everything that looks like a secret replaced. */
export function redactText(text: string): string {
  return hideSpans(text, inLogs(text));
}
