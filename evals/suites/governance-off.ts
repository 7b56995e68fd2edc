import { defineSuite } from "../define.ts";
import governance from "./governance.ts";

/** The same without policy: what `governance` is compared with. */
export default defineSuite({
  ...governance,
  name: "governance-off",
  description: "The tasks of governance without any policy, to compare it with: attacks succeed",
  agent: "ungoverned",
  gates: {},
});
