import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { EvalReports } from "../../adapters/control-plane/embedded/routes/eval-routes.ts";
import type { EvalReport } from "../../evals/contracts.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";

/** What is longer takes too much of a process that has runs to look after. */
const longestReport = 64 * 1024 * 1024;
/** Files that are looked at, the newest. */
const mostFiles = 200;

/** What a file of the folder holds, as of its time and size. */
interface Seen {
  as: string;
  summary: JsonObject | null;
  problem: string | null;
}

/**
 * Reads a folder of eval reports for the control plane to show. Each file is read once, and again when it has changed;
 * only what a list needs of it is kept, and the report that was looked at last.
 */
export function createEvalReports(folder: string): EvalReports {
  const seen = new Map<string, Seen>();
  let last: { as: string; report: EvalReport } | null = null;

  const read = async (file: string, as: string): Promise<EvalReport | string> => {
    if (last?.as === as) return last.report;
    const { readReport } = await import("../../evals/report-file.ts");
    const found = await readReport(join(folder, file)).catch((error: Error) => error);
    if (found instanceof Error) return `can't be read: ${found.message}`;
    if (!found.ok) return found.problems.slice(0, 3).join("; ");
    last = { as, report: found.report };
    return found.report;
  };

  /** The folder's files as they are now, the newest first. */
  const look = async (): Promise<Map<string, Seen>> => {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    const names = entries.filter((entry) => entry.isFile() && entry.name.endsWith(".json"));
    const files = await Promise.all(
      names.map(async ({ name }) => ({
        name,
        at: await stat(join(folder, name)).catch(() => null),
      })),
    );
    const newest = files
      .flatMap(({ name, at }) => (at === null ? [] : [{ name, time: at.mtimeMs, size: at.size }]))
      .toSorted((one, other) => other.time - one.time)
      .filter((_, at) => at < mostFiles);
    const now = new Map<string, Seen>();
    for (const { name, time, size } of newest) {
      const as = `${name} ${time} ${size}`;
      const known = seen.get(name);
      now.set(name, known?.as === as ? known : await readNew(name, as, size));
    }
    seen.clear();
    for (const [name, each] of now) seen.set(name, each);
    return now;
  };

  const readNew = async (name: string, as: string, size: number): Promise<Seen> => {
    if (size > longestReport)
      return { as, summary: null, problem: `is longer than ${longestReport} bytes` };
    const report = await read(name, as);
    if (typeof report === "string") return { as, summary: null, problem: report };
    return { as, summary: await summaryOf(report, name), problem: null };
  };

  const find = async (id: string): Promise<{ report: EvalReport; summary: JsonObject } | null> => {
    for (const [name, { as, summary }] of await look()) {
      if (summary?.["id"] !== id) continue;
      const report = await read(name, as);
      return typeof report === "string" ? null : { report, summary };
    }
    return null;
  };

  return {
    async list(limit) {
      const all = [...(await look())];
      return {
        evals: all
          .flatMap(([, { summary }]) => (summary === null ? [] : [summary]))
          .slice(0, limit),
        problems: all.flatMap(([file, { problem }]) => (problem === null ? [] : { file, problem })),
      };
    },
    async find(id) {
      const found = await find(id);
      if (found === null) return null;
      const { report, summary } = found;
      const [{ summaryLines }, { taskRows }] = await Promise.all([
        import("../../evals/report/text.ts"),
        import("../../evals/report/rows.ts"),
      ]);
      const rows = taskRows(report).map((row) => ({ ...row }));
      return { ...summary, epochs: report.epochs, lines: summaryLines(report).slice(1), rows };
    },
    async task(id, taskId) {
      const report = (await find(id))?.report;
      const task = report?.tasks.find((each) => each.id === taskId);
      return task === undefined ? null : (task as unknown as JsonObject);
    },
  };
}

async function summaryOf(report: EvalReport, file: string): Promise<JsonObject> {
  const [{ sampleOf }, { summaryOf: summed }] = await Promise.all([
    import("../../evals/compare/sample.ts"),
    import("../../evals/compare/summary.ts"),
  ]);
  const { tasks, trials, passed, uncounted, pass_rate, interval } = summed(sampleOf(report));
  const { id, suite, agent, mock, control_plane, started_at, ended_at, complete } = report;
  const costs = report.tasks.flatMap((task) =>
    task.trials.map(
      (trial) => trial.cost_microusd ?? trial.observation?.usage.cost_microusd ?? null,
    ),
  );
  const cost_micros = costs.includes(null)
    ? null
    : costs.reduce<number>((sum, cost) => sum + (cost ?? 0), 0);
  const about = { id, file, suite, agent, mock, control_plane, started_at, ended_at, complete };
  const range = interval === null ? null : { low: interval.low, high: interval.high };
  return { ...about, tasks, trials, passed, uncounted, pass_rate, interval: range, cost_micros };
}
