import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  absent,
  auditArch,
  denied,
  errno,
  newestKnown,
  numberOn,
  restricted,
} from "../../adapters/sandbox/seccomp-rules.ts";
import {
  answer,
  encode,
  type Instruction,
  op,
  seccompProgram,
} from "../../adapters/sandbox/seccomp.ts";

interface Call {
  architecture: number;
  number: number;
  /** Six arguments, of which classic BPF reads the low words here. */
  arguments: number[];
}

/** Runs a classic BPF program over `struct seccomp_data`, and refuses whatever the kernel's checker would. */
function interpret(program: readonly Instruction[], call: Call): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.number >>> 0, 0);
  data.writeUInt32LE(call.architecture, 4);
  call.arguments.forEach((word, index) => data.writeUInt32LE(word >>> 0, 16 + 8 * index));
  let word = 0;
  for (let at = 0; at < program.length;) {
    const { code, operand, ifTrue, ifFalse } = program[at] as Instruction;
    at += 1;
    const branch = (holds: boolean) => (at += holds ? ifTrue : ifFalse);
    if (code === op.load) word = data.readUInt32LE(operand);
    else if (code === op.and) word = (word & operand) >>> 0;
    else if (code === op.equal) branch(word === operand >>> 0);
    else if (code === op.greater) branch(word > operand >>> 0);
    else if (code === op.anyBit) branch((word & operand) !== 0);
    else if (code === op.answer) return operand >>> 0;
    else throw new Error(`no such instruction: ${code}`);
  }
  throw new Error("the program ends without an answer");
}

const refused = (error: number) => (answer.error | error) >>> 0;
const quiet = [0, 0, 0, 0, 0, 0];

describe.each(["x64", "arm64"] as const)("the filter of %s", (name) => {
  const program = seccompProgram(name);
  const architecture = auditArch[name];
  const numbers = (calls: typeof denied) =>
    Object.values(calls).flatMap((pair) => numberOn(name, pair) ?? []);
  const ask = (number: number, given: number[] = quiet) =>
    interpret(program, { architecture, number, arguments: given });

  test("[sandbox.calls] answers each of all numbers as its rule says, and what is newer does not exist", () => {
    const withRules = new Set(restricted.map((rule) => numberOn(name, rule.numbers)));
    for (let number = 0; number < 4096; number += 1) {
      if (withRules.has(number)) continue;
      const expected = numbers(denied).includes(number)
        ? refused(errno.EPERM)
        : number > newestKnown || numbers(absent).includes(number)
          ? refused(errno.ENOSYS)
          : answer.allow;
      expect(ask(number), `call ${number}`).toBe(expected);
    }
  });

  test("[sandbox.calls] kills what calls as another architecture, or as x32", () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.nat(600), (other, number) => {
        fc.pre(other !== architecture);
        const call = { architecture: other, number, arguments: quiet };
        expect(interpret(program, call)).toBe(answer.kill);
        const x32 = ask((number | 0x4000_0000) >>> 0);
        expect(x32).toBe(name === "x64" ? answer.kill : refused(errno.ENOSYS));
      }),
    );
  });

  test("[sandbox.calls] reads arguments: families and kinds of sockets, namespaces of a clone, sizes of buffers", () => {
    const call = (named: string, given: number[]) => {
      const numbersOf = restricted.find((rule) => rule.name === named)?.numbers ?? [null, null];
      return ask(numberOn(name, numbersOf) ?? -1, [...given, ...quiet].slice(0, 6));
    };
    const word = fc.oneof(fc.nat(50), fc.nat(0xffff_ffff));
    fc.assert(
      fc.property(word, word, word, (first, second, third) => {
        const given = [first, second, third];
        const isFamily = [1, 2, 10].includes(first);
        const isKind = [1, 2, 5].includes(second & 0xf);
        expect(call("socket", given)).toBe(
          !isFamily ? refused(errno.EAFNOSUPPORT) : isKind ? answer.allow : refused(errno.EPERM),
        );
        expect(call("socketpair", given)).toBe(
          first === 1 ? answer.allow : refused(errno.EAFNOSUPPORT),
        );
        expect(call("clone", given)).toBe(
          (first & 0x7e02_0000) !== 0 ? refused(errno.EPERM) : answer.allow,
        );
        expect(call("setsockopt", given)).toBe(
          second === 1 && [7, 8, 32, 33].includes(third) ? refused(errno.EPERM) : answer.allow,
        );
        expect(call("fcntl", given)).toBe(second === 1031 ? refused(errno.EPERM) : answer.allow);
        expect(call("ioctl", given)).toBe(
          second === 0x5412 || second === 0x541c ? refused(errno.EPERM) : answer.allow,
        );
      }),
      // The values that decide are few among all words.
      {
        numRuns: 3_000,
        examples: [
          [1, 1, 7],
          [2, 1031, 0],
          [10, 0x5412, 8],
          [1, 0x541c, 33],
        ],
      },
    );
  });

  test("is a program the kernel takes: every jump ends inside, and 8 bytes an instruction", () => {
    program.forEach(({ ifTrue, ifFalse, code }, at) => {
      expect(at + 1 + Math.max(ifTrue, ifFalse)).toBeLessThan(
        program.length + (code === op.answer ? 1 : 0),
      );
      expect(Math.max(ifTrue, ifFalse)).toBeLessThan(256);
    });
    expect(encode(program)).toHaveLength(program.length * 8);
    expect(program.length).toBeLessThan(4096);
  });
});
