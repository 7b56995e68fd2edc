import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "./owner.ts";
import { absent, type Condition, denied, errno, restricted } from "./seccomp-rules.ts";

/** As docker and podman read it: all arguments of a rule must hold, and each may be named once. */
interface Argument {
  index: number;
  op: "SCMP_CMP_EQ" | "SCMP_CMP_GE" | "SCMP_CMP_MASKED_EQ";
  value: number;
  valueTwo?: number;
}

/** The rules of {@link restricted} as a container engine takes them. Calls newer than those we know can't be refused so. */
export function seccompProfile(): object {
  const refuse = (names: string[], errnoRet: number, args: Argument[] = []) => ({
    names,
    action: "SCMP_ACT_ERRNO",
    errnoRet,
    args,
  });
  return {
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: [process.arch === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64"],
    syscalls: [
      refuse(Object.keys(denied), errno.EPERM),
      refuse(Object.keys(absent), errno.ENOSYS),
      ...restricted.flatMap(({ name, when, error }) =>
        everyChoice(when.map(choicesOf)).map((args) => refuse([name], error, args)),
      ),
    ],
  };
}

/** Conditions of which any one is enough. */
function choicesOf(condition: Condition): Argument[] {
  const index = condition.argument;
  if ("bits" in condition) {
    return Array.from({ length: 32 }, (_, bit) => 2 ** bit)
      .filter((bit) => Math.floor(condition.bits / bit) % 2 === 1)
      .map((bit) => ({ index, op: "SCMP_CMP_MASKED_EQ", value: bit, valueTwo: bit }));
  }
  const { mask } = condition;
  const equal = (value: number): Argument =>
    mask === undefined
      ? { index, op: "SCMP_CMP_EQ", value }
      : { index, op: "SCMP_CMP_MASKED_EQ", value: mask, valueTwo: value };
  if ("in" in condition) return condition.in.map(equal);
  const end = mask === undefined ? Math.max(...condition.notIn) : mask;
  const others = Array.from({ length: end + 1 }, (_, value) => value)
    .filter((value) => !condition.notIn.includes(value))
    .map(equal);
  return mask === undefined ? [...others, { index, op: "SCMP_CMP_GE", value: end + 1 }] : others;
}

function everyChoice(lists: Argument[][]): Argument[][] {
  return lists.reduce<Argument[][]>(
    (made, list) => made.flatMap((args) => list.map((one) => [...args, one])),
    [[]],
  );
}

let file: string | null = null;

/**
 * The profile as a file for the engine's command line, gone with this process.
 *
 * @throws Error where there is no room for it
 */
export function seccompProfileFile(): string {
  if (file !== null) return file;
  const folder = makeFolder("seccomp");
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  file = join(folder, "seccomp.json");
  writeFileSync(file, JSON.stringify(seccompProfile()));
  return file;
}
