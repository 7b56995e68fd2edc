import type { Walk } from "./walk-lifecycle.ts";

/** A walk as a person reads it: one line a thing that happened, numbered by the life it happened in. */
export function tellStory({ seen, hasEnded, controlPlane }: Walk): string {
  const lines = seen.map((item) => {
    switch (item.what) {
      case "touched":
        return `  life ${item.life}: TOUCHED ${item.action.kind} ${item.action.name} (${item.repeat})`;
      case "judged":
        return `  life ${item.life}: policy says ${item.kind}`;
      case "asked":
        return `  life ${item.life}: asked about ${item.name}`;
      case "decided":
        return `  people: ${item.status} ${item.action.kind} ${item.action.name}`;
      case "answered":
        return `  life ${item.life}: ${item.name} answered`;
      case "called":
        return `  life ${item.life}: ${item.name}`;
      case "fault":
        return `  life ${item.life}: FAULT ${item.name}`;
      case "ended":
        return `  life ${item.life}: ended, ${item.name}`;
    }
  });
  const statuses = controlPlane.accepted.map(({ body }) => body.status).join(", ") || "none";
  return [...lines, `  reports: ${statuses}; ${hasEnded ? "ended" : "never ended"}`].join("\n");
}
