import { expect, it } from "vitest";
import { guardPorts } from "../../actors/guard-ports.ts";
import type { RuntimePorts } from "../../actors/ports.ts";

const said: string[] = [];
const silent = () => {};
const log = {
  debug: silent,
  info: silent,
  warn: silent,
  error: (_: object, text: string) => void said.push(text),
};
const never = new AbortController().signal;

const throwing = (): never => {
  throw new RangeError("Maximum call stack size exceeded");
};
const rejecting = async () => throwing();

it.each([
  ["throws", throwing],
  ["rejects", rejecting],
])(
  "an adapter that %s where it should answer is passing trouble with its name, not the job's end [port.throws]",
  async (_, verb) => {
    const controlPlane = { run: verb, checkTool: verb, budgets: { reserve: verb, settle: verb } };
    const ports = { controlPlane, artifacts: { isShared: true, put: verb }, log };
    const guarded = guardPorts(ports as unknown as RuntimePorts);
    const answers = [
      await guarded.controlPlane.run("run_1", never),
      await guarded.controlPlane.checkTool({} as never, never),
      await guarded.controlPlane.budgets?.reserve({} as never, never),
      await guarded.artifacts.put({} as never, {} as never),
    ];
    for (const answer of answers) {
      expect(answer).toMatchObject({
        ok: false,
        failure: { kind: "unavailable", retryable: true },
      });
    }
    expect(said.splice(0)).toHaveLength(4);
    const gone = await guarded.controlPlane.run("run_1", AbortSignal.abort());
    expect(gone).toMatchObject({ ok: false, failure: { kind: "cancelled", retryable: false } });
    expect(guarded.artifacts.isShared).toBe(true);
  },
);
