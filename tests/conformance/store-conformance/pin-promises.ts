import { describe, expect, it } from "vitest";
import type { Stage } from "./stage.ts";

export function pinPromises(stage: () => Stage): void {
  describe("what was accepted of a tool server", () => {
    it("is what came first, for whoever asks, until it is replaced [store.pins]", async () => {
      const { a, b } = stage();
      expect(await a.pins.find("git")).toBeNull();
      const kept = await Promise.all([
        a.pins.keepFirst("git", "one"),
        b.pins.keepFirst("git", "two"),
      ]);
      expect(new Set(kept).size).toBe(1);
      expect(await b.pins.find("git")).toBe(kept[0]);
      expect(await b.pins.keepFirst("git", "three")).toBe(kept[0]);
      await a.pins.replace("git", "🙂 four");
      expect(await b.pins.find("git")).toBe("🙂 four");
      expect(await b.pins.find("__proto__")).toBeNull();
      expect(await b.pins.find("Git")).toBeNull();
    });
  });
}
