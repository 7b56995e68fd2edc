import {
  absent,
  type Architecture,
  auditArch,
  type Condition,
  denied,
  errno,
  newestKnown,
  numberOn,
  restricted,
  x32Bit,
} from "./seccomp-rules.ts";

/** An instruction of classic BPF (linux/filter.h): what to do, how far to jump if true and if false, an operand. */
export interface Instruction {
  code: number;
  ifTrue: number;
  ifFalse: number;
  operand: number;
}

/** The instructions we use, as linux/bpf_common.h composes their codes. */
export const op = {
  /** BPF_LD | BPF_W | BPF_ABS: the word at this offset of the call's data. */
  load: 0x20,
  /** BPF_ALU | BPF_AND | BPF_K */
  and: 0x54,
  /** BPF_JMP | BPF_JEQ | BPF_K */
  equal: 0x15,
  /** BPF_JMP | BPF_JGT | BPF_K */
  greater: 0x25,
  /** BPF_JMP | BPF_JSET | BPF_K */
  anyBit: 0x45,
  /** BPF_RET | BPF_K */
  answer: 0x06,
} as const;

/** Answers of linux/seccomp.h; the low half of `error` is the errno. */
export const answer = { kill: 0x8000_0000, error: 0x0005_0000, allow: 0x7fff_0000 } as const;

/** Offsets in `struct seccomp_data`. Both architectures are little-endian: the low word of an argument is first. */
const at = { number: 0, architecture: 4, argument: (index: number) => 16 + 8 * index };

/**
 * The filter for one architecture. A call made as another architecture, or as x32, kills the process: its numbers mean
 * other calls. Everything else is allowed that no rule refuses, up to the newest call that was looked at.
 */
export function seccompProgram(architecture: Architecture): Instruction[] {
  const program = [
    step(op.load, at.architecture),
    jump(op.equal, auditArch[architecture], 1, 0),
    step(op.answer, answer.kill),
    step(op.load, at.number),
  ];
  if (architecture === "x64") {
    program.push(jump(op.anyBit, x32Bit, 0, 1), step(op.answer, answer.kill));
  }
  program.push(jump(op.greater, newestKnown, 0, 1), refuse(errno.ENOSYS));
  for (const [calls, error] of [
    [denied, errno.EPERM],
    [absent, errno.ENOSYS],
  ] as const) {
    for (const numbers of Object.values(calls)) {
      const number = numberOn(architecture, numbers);
      if (number !== null) program.push(jump(op.equal, number, 0, 1), refuse(error));
    }
  }
  for (const { numbers, when, error } of restricted) {
    const number = numberOn(architecture, numbers);
    if (number === null) continue;
    const rule = [...conjunction(when, error), step(op.load, at.number)];
    program.push(jump(op.equal, number, 0, rule.length), ...rule);
  }
  program.push(step(op.answer, answer.allow));
  return program;
}

/** Refuses if all conditions hold, and goes on behind itself otherwise. */
function conjunction(conditions: readonly Condition[], error: number): Instruction[] {
  let code = [refuse(error)];
  for (const condition of conditions.toReversed())
    code = [...test(condition, code.length), ...code];
  return code;
}

/** Goes on if the condition holds; otherwise skips the `rest` instructions that follow it. */
function test(condition: Condition, rest: number): Instruction[] {
  const code = [step(op.load, at.argument(condition.argument))];
  if ("bits" in condition) return [...code, jump(op.anyBit, condition.bits, 0, rest)];
  if (condition.mask !== undefined) code.push(step(op.and, condition.mask));
  const values = "in" in condition ? condition.in : condition.notIn;
  values.forEach((value, index) => {
    const left = values.length - 1 - index;
    const isLast = left === 0;
    // One that is equal leaves the list; only behind the last is it known that none was.
    if ("in" in condition) code.push(jump(op.equal, value, left, isLast ? rest : 0));
    else code.push(jump(op.equal, value, left + rest, 0));
  });
  return code;
}

const step = (code: number, operand: number): Instruction => jump(code, operand, 0, 0);
const refuse = (error: number): Instruction => step(op.answer, answer.error | error);

function jump(code: number, operand: number, ifTrue: number, ifFalse: number): Instruction {
  return { code, ifTrue, ifFalse, operand };
}

/** The program as the kernel takes it: an array of `struct sock_filter`. */
export function encode(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(({ code, ifTrue, ifFalse, operand }, index) => {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(ifTrue, index * 8 + 2);
    bytes.writeUInt8(ifFalse, index * 8 + 3);
    bytes.writeUInt32LE(operand >>> 0, index * 8 + 4);
  });
  return bytes;
}

/** The filter for the machine we run on; null where we have none. */
export function seccompFilter(architecture: string = process.arch): Buffer | null {
  if (architecture !== "x64" && architecture !== "arm64") return null;
  return encode(seccompProgram(architecture));
}
