import { expect, it } from "vitest";
import { securityPage, unexplained } from "../security-map.ts";

it("docs/security.md names of each control the tests that prove it; write it anew with `node tests/security-map.ts`", () => {
  const { made, found } = securityPage();
  expect(found).toBe(made);
});

it("each risk of OWASP's lists has a control, or a reason why it has none", () => {
  expect(unexplained).toEqual([]);
});
