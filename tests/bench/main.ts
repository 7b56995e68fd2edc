import { parseArgs } from "node:util";
import { benchParked } from "./parked.ts";
import { benchThroughput } from "./throughput.ts";

const { values } = parseArgs({
  options: {
    parked: { type: "string", default: "10000" },
    steps: { type: "string", default: "5000" },
    capacity: { type: "string", default: "64" },
    json: { type: "boolean", default: false },
  },
});
const print = (line: string) => process.stdout.write(`${line}\n`);
const note = (line: string) => process.stderr.write(`${line}\n`);

note(`throughput: ${values.steps} plain steps, ${values.capacity} at once`);
const throughput = await benchThroughput(Number(values.steps), Number(values.capacity));
note(`parked: ${values.parked} approvals`);
const parked = await benchParked(Number(values.parked), 50);
if (values.json) {
  print(JSON.stringify({ throughput, parked }));
} else {
  const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
  print(`plain steps, the whole worker      ${throughput.stepsPerSecond}/s`);
  print(`bare read, POST and acknowledge    ${throughput.barePerSecond}/s`);
  print(`ratio                              ${throughput.ratio.toFixed(2)}`);
  print(`parked approvals                   ${parked.parked}`);
  print(
    `Redis, each / largest record       ${parked.redisBytesEach} B / ${parked.redisBytesLargest} B`,
  );
  print(
    `worker heap / RSS grown by         ${mib(parked.workerHeapGrowthBytes)} / ${mib(parked.workerRssGrowthBytes)}`,
  );
  print(`steps alive in the worker          ${parked.stepsAlive}`);
  print(
    `approve → executing, median / p95  ${parked.continuedMedianMs.toFixed(1)} ms / ${parked.continuedP95Ms.toFixed(1)} ms`,
  );
}
