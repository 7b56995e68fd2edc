import { randomBytes } from "node:crypto";

/** A consumer's name that no other life of a worker has had. */
export function consumerName(workerName: string): string {
  return `${workerName}-${process.pid}-${randomBytes(4).toString("hex")}`;
}
