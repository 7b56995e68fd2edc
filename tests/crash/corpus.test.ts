import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readRecord } from "../../actors/step/pending.ts";
import type { StepRecord } from "../../machines/contracts/domain/record.ts";
import { stepMachineVersion } from "../../machines/step/machine.ts";
import { corpusScene, grantAll } from "../corpus/corpus-scene.ts";
import { putBack } from "../corpus/put-back.ts";
import type { Question } from "../kit/simulated-control-plane.ts";

interface Kept {
  asksAtOnce: boolean;
  questions: Question[];
  record: StepRecord;
}

const folder = join(import.meta.dirname, "../corpus");
const corpus = globSync("v*.json", { cwd: folder }).toSorted();
const read = (file: string): Kept => JSON.parse(readFileSync(join(folder, file), "utf8"));

/** Effects whose results the journal already has. */
const completedBefore = ({ record }: Kept) =>
  record.journal.filter((line) => JSON.stringify(line).includes('"completed"')).length;

it("the corpus has every place where a step of today's version waits", () => {
  const places = corpus
    .filter((file) => file.startsWith(`v${stepMachineVersion}-`))
    .map((file) => JSON.stringify(read(file).record.snapshot));
  for (const place of ['{"awaiting-approval":"parking"}', '{"executing":"parking"}']) {
    expect(places.some((snapshot) => snapshot.includes(`"value":${place}`))).toBe(true);
  }
});

it.each(corpus)(
  "%s is read, and finished by today's chart without repeating what is journalled [version.read]",
  async (file) => {
    const kept = read(file);
    expect(readRecord(kept.record).ok).toBe(true);
    const scene = await corpusScene(kept.asksAtOnce);
    scene.controlPlane.questions.push(...kept.questions);
    await putBack(scene.backend, { snapshot: kept.record.snapshot, journal: kept.record.journal });
    for (let turn = 0; turn < 5 && scene.controlPlane.accepted.length === 0; turn += 1) {
      grantAll(scene);
      await scene.deliver();
    }
    expect(scene.controlPlane.accepted.map(({ body }) => body)).toMatchObject([
      { status: "completed", output: "both lines" },
    ]);
    const { done } = scene.world;
    // The thought was paid for before it was parked; what is in doubt was granted anew, the rest is done once.
    const known = completedBefore(kept);
    if (known > 0) expect(done).not.toContain("think");
    expect(new Set(done).size).toBe(done.length);
    const record = await scene.backend.store.find(kept.record);
    expect(record).toMatchObject({ phase: "reported", journal: [], snapshot: null });
    await scene.close();
  },
);
