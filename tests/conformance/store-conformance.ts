import { afterEach, beforeEach, describe } from "vitest";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { queuePromises } from "./store-conformance/queue-promises.ts";
import { openPromises } from "./store-conformance/open-promises.ts";
import { journalPromises } from "./store-conformance/journal-promises.ts";
import { parkPromises } from "./store-conformance/park-promises.ts";
import { settlePromises } from "./store-conformance/settle-promises.ts";
import { letterPromises } from "./store-conformance/letter-promises.ts";
import { pinPromises } from "./store-conformance/pin-promises.ts";
import type { Stage } from "./store-conformance/stage.ts";

/** Opens backends over one and the same fresh store; `clean` checks that nothing is left and removes it. */
export interface StoreUnderTest {
  open(consumer: string): Promise<StepBackend>;
  clean(): Promise<void>;
}

/** Every promise of `StepQueue` and `StepStore`, for any backend. */
export function storeConformance(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(name, () => {
    let under: StoreUnderTest;
    let stage: Stage;

    beforeEach(async () => {
      under = await create();
      stage = { a: await under.open("worker-a"), b: await under.open("worker-b") };
    });
    afterEach(async () => {
      await stage.a.close();
      await stage.b.close();
      await under.clean();
    });

    queuePromises(() => stage);
    openPromises(() => stage);
    journalPromises(() => stage);
    parkPromises(() => stage);
    settlePromises(() => stage);
    letterPromises(() => stage);
    pinPromises(() => stage);
  });
}
