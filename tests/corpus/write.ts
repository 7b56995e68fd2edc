import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stepMachineVersion } from "../../machines/step/machine.ts";
import { corpusJob } from "./corpus-steps.ts";
import { type CorpusScene, corpusScene, grantAll } from "./corpus-scene.ts";

/**
 * Writes what today's chart keeps of a step at each place where it waits, as `v{version}-{name}.json`. Run it
 * once for each new version of the chart, and commit the files: those of older versions are never written again.
 */
const places: Record<string, { asksAtOnce: boolean; walk(scene: CorpusScene): Promise<unknown> }> =
  {
    "awaiting-first-answer": { asksAtOnce: false, walk: (scene) => scene.deliver() },
    "awaiting-two-answers": { asksAtOnce: true, walk: (scene) => scene.deliver() },
    "awaiting-second-answer": {
      asksAtOnce: false,
      async walk(scene) {
        await scene.deliver();
        grantAll(scene);
        await scene.deliver();
      },
    },
    "awaiting-word-on-a-doubt": {
      asksAtOnce: true,
      async walk(scene) {
        await scene.deliver();
        grantAll(scene);
        scene.world.losesAnswers = true;
        await scene.deliver();
      },
    },
    "backing-off": {
      asksAtOnce: false,
      async walk(scene) {
        scene.world.isBusy = true;
        await scene.deliver();
      },
    },
  };

for (const [name, { asksAtOnce, walk }] of Object.entries(places)) {
  const scene = await corpusScene(asksAtOnce);
  await walk(scene);
  const record = await scene.backend.store.find(corpusJob);
  const { questions } = scene.controlPlane;
  const file = join(import.meta.dirname, `v${stepMachineVersion}-${name}.json`);
  writeFileSync(file, `${JSON.stringify({ asksAtOnce, questions, record }, null, 2)}\n`);
  process.stdout.write(`${file}: ${record?.phase}\n`);
  await scene.close();
}
