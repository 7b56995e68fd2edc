import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { findTool } from "./find-tool.ts";
import { baseEnv, layout } from "./host-view.ts";
import { isLeftOver, nameOf } from "./owner.ts";
import { limits } from "./program.ts";
import { seccompProfileFile } from "./seccomp-profile.ts";
import type { BoxBuilder } from "./unshare.ts";

/*
 * A sandbox built by docker or podman. The engine's command line is no parent of what runs: killing it ends nothing. So a
 * container has a name by which it is removed when its run is stopped; it ends by itself soon after its time limit; and
 * the next worker on this machine removes those whose worker is gone. Only stdin, stdout and stderr reach into it: what a
 * box says on descriptor 3 elsewhere stands on stderr between two marks that are made for each run.
 */

const exec = promisify(execFile);
const label = "stateplane.sandbox";

/** What the engine's command line needs of our environment; none of it reaches the container. */
export function engineEnv(): Record<string, string> {
  const names =
    "PATH HOME DOCKER_HOST DOCKER_CONTEXT DOCKER_CONFIG CONTAINER_HOST XDG_RUNTIME_DIR".split(" ");
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])),
  );
}

const engine = () => findTool("docker") ?? findTool("podman");
const ask = async (words: string[]) =>
  (await exec(engine() ?? "docker", words, { env: engineEnv(), timeout: 20_000 })).stdout;

/** What the engine says of itself. */
let about = "";

/** Why no container can run here, or null. Learns whether the engine lists gVisor, and removes what crashed workers left. */
export async function containerProblem(
  image: string | null,
): Promise<{ reason: string; passes: boolean } | null> {
  if (image === null) {
    const reason = "no image is configured: SANDBOX_IMAGE names one that the engine has";
    return { reason, passes: false };
  }
  if (engine() === null) return { reason: "neither docker nor podman on the PATH", passes: false };
  try {
    about = await ask(["info", "--format", "{{json .}}"]);
    const names = await ask([
      "ps",
      "--all",
      "--filter",
      `label=${label}`,
      "--format",
      "{{.Names}}\t{{.CreatedAt}}",
    ]);
    const left = names.split("\n").flatMap((line) => {
      const [name = "", made = ""] = line.split("\t");
      return isLeftOver(name, readTime(made)) ? [name] : [];
    });
    if (left.length > 0) await ask(["rm", "--force", ...left]);
    return null;
  } catch (error) {
    const said = error instanceof Error ? error.message.trim().split("\n").at(-1) : String(error);
    return { reason: `the engine does not answer: ${said}`, passes: true };
  }
}

/** `2026-11-26 10:33:55.123 +0100 CET`, milliseconds; NaN where it is none. */
function readTime(text: string): number {
  const [, time, zone] = /^(\S+ [\d:]+)\S* ([+-]\d{4})/u.exec(text) ?? [];
  return Date.parse(`${time} ${zone}`);
}

/** Ends a run's container, whatever became of the command that started it. */
export function removeContainer(mark: string): void {
  const remove = () => void ask(["rm", "--force", nameOf(mark)]).catch(() => {});
  remove();
  // A command that was killed may have asked for it already, and the engine makes it when there is nothing to remove yet.
  for (const laterMs of [2_000, 10_000]) setTimeout(remove, laterMs).unref();
}

function folder(bytes: number): string {
  const most = `rw,exec,nosuid,nodev,mode=1777,size=${bytes}`;
  // Podman knows no such option. There the memory that entries take is limited with all other.
  return /"buildahVersion"/u.test(about) ? most : `${most},nr_inodes=${limits.folderEntries}`;
}

/** Files that an engine writes into a container, or an image has, and that tell of people and machines. */
const hidden = ["hosts", "resolv.conf", "hostname", "passwd", "shadow", "group"];

export function container(image: string): BoxBuilder {
  return (timeoutMs, { mark = "", residentBytes = limits.residentBytes } = {}) => {
    const seconds = Math.ceil(timeoutMs / 1_000) + 5;
    const env = Object.entries(baseEnv).map(([name, value]) => `${name}=${value}`);
    // No working directory: docker would make it for root alone, below the folder that is mounted there.
    return [
      engine() ?? "docker",
      "run",
      "--rm",
      "--interactive",
      "--pull",
      "never",
      "--log-driver",
      "none",
      "--name",
      nameOf(mark),
      "--label",
      label,
      ...(/"runsc"/u.test(about) ? ["--runtime", "runsc"] : []),
      "--network",
      "none",
      "--read-only",
      "--cap-drop",
      "ALL",
      "--ipc",
      "private",
      "--security-opt",
      "no-new-privileges",
      "--security-opt",
      `seccomp=${seccompProfileFile()}`,
      "--user",
      "65534:65534",
      "--hostname",
      "sandbox",
      "--pids-limit",
      String(limits.processes),
      "--memory",
      String(residentBytes),
      "--memory-swap",
      String(residentBytes),
      "--ulimit",
      `data=${limits.dataBytes}`,
      "--ulimit",
      `fsize=${limits.fileBytes}`,
      "--ulimit",
      `nofile=${limits.openFiles}:${limits.openFiles}`,
      "--ulimit",
      "core=0",
      "--ulimit",
      `cpu=${seconds}`,
      "--shm-size",
      String(limits.sharedMemoryBytes),
      ...["/tmp", layout.backend].flatMap((path) => [
        "--tmpfs",
        `${path}:${folder(limits.folderBytes)}`,
      ]),
      ...hidden.flatMap((name) => ["--volume", `/dev/null:/etc/${name}:ro`]),
      // The first process has not the image's environment, collects orphans, and ends all when it is late.
      "--entrypoint",
      "/usr/bin/env",
      image,
      "-i",
      ...env,
      "sh",
      "-c",
      `(sleep ${seconds}; kill -s KILL -- -1) </dev/null >/dev/null 2>&1 & sh -c 'exec 3>&2; eval "$(cat)"' <&0; exit $?`,
    ];
  };
}
