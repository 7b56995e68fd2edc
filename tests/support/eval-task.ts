import type { EvalTask } from "../../evals/contracts.ts";

/** A task that asks and expects nothing, as if it stood in that file. */
export const evalTask = (id: string, file = "/t"): EvalTask => ({
  id,
  name: id,
  description: "",
  input: {},
  expected: {},
  difficulty: "easy",
  category: "general",
  tags: [],
  config: {},
  from: { file, line: 1 },
});
