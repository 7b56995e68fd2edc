import { useEffect, useMemo, useState } from "preact/hooks";
import { type Doc, useApi } from "./api.ts";
import { Drawing } from "./drawing.ts";
import { html } from "./html.ts";
import { answeredEverywhere, machineBoxes, type Walk } from "./machine-boxes.ts";
import {
  count,
  Facts,
  Heading,
  Id,
  lasted,
  money,
  Status,
  stepWord,
  Table,
  Time,
  to,
  Value,
  visible,
  Waiting,
} from "./parts.ts";
import { History } from "./run.ts";

const ended = new Set(["completed", "failed", "skipped", "cancelled"]);

export function Step({ runId, stepId }: { runId: string; stepId: string }) {
  const path = `/v1/runs/${encodeURIComponent(runId)}`;
  const steps = useApi(`${path}/steps/${encodeURIComponent(stepId)}`, 2_000);
  const record = useApi(`${path}/steps/${encodeURIComponent(stepId)}/record`, 2_000);
  const audit = useApi(`${path}/audit?limit=1000`);
  const step: Doc = steps.data;
  const isOver = step !== null && ended.has(step.status);
  const walk = walkOf(record.data, step);
  const entries = ((audit.data ?? []) as Doc[]).filter(
    ({ details }) => details?.step_id === stepId,
  );
  return html`<nav class="way" aria-label="Where this is">
      <a href=${to("runs", runId)}>Run <${Id} of=${runId} /></a>
    </nav>
    <${Heading}
      title=${step === null ? `Step ${stepId}` : visible(step.name ?? `Step ${step.step_number}`)}
    >
      ${step !== null && html`<${Status} of=${stepWord(step)} />`}
    <//>
    <${Waiting} of=${steps} />
    ${
      step !== null &&
      html`<${Facts}
        of=${[
          ["Id", html`<code>${step.id}</code>`],
          ["Type", step.step_type],
          ["Tool", visible(step.tool_name ?? step.input?.tool_name ?? "")],
          ["Model", visible(step.model ?? "")],
          ["Started", html`<${Time} at=${step.started_at} />`],
          ["Took", lasted(step.started_at, step.completed_at)],
          ["Tokens in", count(step.input_tokens)],
          ["Tokens out", count(step.output_tokens)],
          ["Cost", money(step.cost_micros)],
          ["Wakes", record.data?.wakes_at && html`<${Time} at=${record.data.wakes_at} />`],
        ]}
      />`
    }
    <h2>States</h2>
    <${Chart} walk=${walk} />
    <h2>Effects</h2>
    <${Effects}
      of=${step?.trace?.effects ?? effectsOf(record.data?.journal ?? [])}
      isOver=${isOver}
    />
    ${
      step !== null &&
      step.error !== null &&
      html`<h2>Error</h2>
        <${Value} value=${step.error} />`
    }
    ${
      step !== null &&
      step.output !== null &&
      html`<h2>Output</h2>
        <${Value} value=${step.output} />`
    }
    ${
      step !== null &&
      html`<h2>Input</h2>
        <${Value} value=${step.input} />`
    }
    <h2>Verdicts and answers</h2>
    <${History} entries=${entries} />`;
}

/** From the store's record, while there is one; of a step that has ended, its status says where it went. */
function walkOf(record: Doc, step: Doc): Walk & { isGuessed: boolean } {
  const passed: string[] = step?.trace?.states ?? record?.state_history ?? [];
  const isOver = step !== null && ended.has(step.status);
  if (passed.length > 0) {
    const last = passed.at(-1) ?? null;
    return { passed, current: isOver ? null : (record.state ?? last), isGuessed: false };
  }
  if (isOver) return { passed: ["reported"], current: null, isGuessed: true };
  return { passed: [], current: null, isGuessed: false };
}

function Chart({ walk }: { walk: Walk & { isGuessed: boolean } }) {
  const [definition, setDefinition] = useState<Doc>(null);
  useEffect(() => {
    void fetch("/console/machines/step.json")
      .then((answer) => answer.json())
      .then(setDefinition);
  }, []);
  const { passed, current } = walk;
  const boxes = useMemo(
    () => (definition === null ? null : machineBoxes(definition, { passed, current })),
    [definition, passed.join(" "), current],
  );
  return html`${
    passed.length > 0 &&
    html`<ol class="walk" aria-label="The states it passed">
      ${passed.map((state, at) => html`<li key=${at} class=${at === passed.length - 1 && current !== null ? "now" : ""}>${state}</li>`)}
    </ol>`
  }
  ${walk.isGuessed && html`<p class="quiet">It has ended, and its record is no longer kept: only its end is known.</p>`}
  ${passed.length === 0 && html`<p class="quiet">No worker has begun it yet.</p>`}
  ${boxes !== null && html`<${Drawing} of=${boxes} label="The step machine's chart, with the states that this step passed" />`}
  ${
    definition !== null &&
    html`<details class="quiet">
      <summary>What every state answers alike</summary>
      <ul>
        ${answeredEverywhere(definition).map((said) => html`<li key=${said}>${said}</li>`)}
      </ul>
    </details>`
  }`;
}

function Effects({ of, isOver }: { of: readonly Doc[]; isOver: boolean }) {
  if (of.length === 0) {
    const why = isOver
      ? "The journal of a step that has ended is no longer kept."
      : "It has touched nothing outside yet.";
    return html`<p class="quiet">${why}</p>`;
  }
  return html`<${Table}
    label="Effects"
    rows=${of}
    id=${(effect: Doc) => effect.name}
    columns=${[
      { name: "Effect", of: (effect: Doc) => html`<code>${visible(effect.name)}</code>` },
      {
        name: "Begun",
        isNumber: true,
        of: (effect: Doc) => html`<${Time} at=${effect.begun_at} />`,
      },
      {
        name: "Completed",
        isNumber: true,
        of: (effect: Doc) => html`<${Time} at=${effect.completed_at} />`,
      },
      {
        name: "Took",
        isNumber: true,
        of: (effect: Doc) =>
          effect.completed_at === null ? "" : lasted(effect.begun_at, effect.completed_at),
      },
      {
        name: "Outcome",
        of: (effect: Doc) =>
          typeof effect.abandoned === "string"
            ? html`<span class="status bad">${visible(effect.abandoned)}</span>`
            : effect.completed_at === null
              ? html`<span class="status wait">${isOver ? "in doubt" : "under way"}</span>`
              : html`<span class="status good">completed</span>`,
      },
    ]}
  />`;
}

/** The journal's lines, an effect each; a line is data from outside, and one that can't be read says so. */
function effectsOf(journal: readonly Doc[]): Doc[] {
  const effects = new Map<string, Doc>();
  for (const [at, line] of journal.entries()) {
    const { event, effect, message } = line ?? {};
    const time = typeof line?.at === "number" ? timeOf(line.at) : null;
    const none = { begun_at: null, completed_at: null, abandoned: null };
    if (event === "abandoned") {
      effects.set(`#${at}`, {
        ...none,
        name: "attempt given up",
        begun_at: time,
        abandoned: String(message),
      });
    } else if (typeof effect !== "string") {
      effects.set(`#${at}`, { ...none, name: "an entry that can't be read" });
    } else {
      const known = effects.get(effect) ?? { ...none, name: effect };
      effects.set(effect, { ...known, [event === "begun" ? "begun_at" : "completed_at"]: time });
    }
  }
  return [...effects.values()];
}

const timeOf = (ms: number): string | null =>
  Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : null;
