import type { Walk } from "./walk-lifecycle.ts";

/** A walk as a person reads it: one line a thing that happened, numbered by the session it happened in. */
export function tellStory({ seen, hasEnded, controlPlane }: Walk): string {
  const lines = seen.map((item) => {
    switch (item.what) {
      case "touched":
        return `  session ${item.session}: TOUCHED ${item.action.kind} ${item.action.name} (${item.repeat})`;
      case "judged":
        return `  session ${item.session}: policy says ${item.kind}`;
      case "changed":
        return `  session ${item.session}: every tool has ${item.schema}`;
      case "asked":
        return `  session ${item.session}: asked about ${item.name}`;
      case "decided":
        return `  people: ${item.status} ${item.action.kind} ${item.action.name}`;
      case "answered":
        return `  session ${item.session}: ${item.name} answered`;
      case "called":
        return `  session ${item.session}: ${item.name}`;
      case "fault":
        return `  session ${item.session}: FAULT ${item.name}`;
      case "ended":
        return `  session ${item.session}: ended, ${item.name}`;
    }
  });
  const statuses = controlPlane.accepted.map(({ body }) => body.status).join(", ") || "none";
  return [...lines, `  reports: ${statuses}; ${hasEnded ? "ended" : "never ended"}`].join("\n");
}
