import type { Redis } from "ioredis";
import { type BoundScript, bindScript, type Script } from "./keys.ts";
import { MoveError } from "./trouble.ts";

/*
 * The moves of many steps in one script.
 *
 * Each step makes its own moves, but many steps make the same one at the same time: a read brings a batch of jobs, which
 * are all opened; reports are answered together, and their steps are settled. Calls of one script that are made in the
 * same turn of the event loop are therefore sent as one command, which runs the script's body once for each of them.
 *
 *   each call       sees its own KEYS and ARGV, as if it were alone, and has its own reply
 *   an error        is the error of the call that met it; the others go on. What was written before it stays, as it does
 *                   where the script runs alone
 *   but an error    that only another connection mends (see `isMendedByReconnecting`) fails the whole command, so that
 *                   the client sees it and reconnects. Every script bears being run twice, so what was done by then is
 *                   found done when its caller tries again
 *
 * The server is busy while the command runs, so a batch is bounded, in calls and in what they carry.
 */

const mostCalls = 64;
const mostCharacters = 1024 * 1024;

interface Call {
  inputs: (string | number)[];
  resolve: (reply: unknown) => void;
  reject: (error: unknown) => void;
}

/**
 * As {@link bindScript}, with the calls of one turn sent together.
 *
 * @param atEnd runs `send` when the calls have come together: `setImmediate` for those that answers from many
 *   connections bring, `process.nextTick` for those that one answer brings all at once, and that somebody waits for
 */
export function bindBatched(
  redis: Redis,
  script: Script,
  atEnd: (send: () => void) => unknown = setImmediate,
): BoundScript {
  const run = bindScript(redis, { name: `${script.name}Batch`, keys: null, lua: batchOf(script) });
  let queued: Call[] = [];
  let characters = 0;

  const send = () => {
    if (queued.length === 0) return;
    const calls = queued;
    queued = [];
    characters = 0;
    const keys: (string | number)[] = [];
    const args: (string | number)[] = [calls.length];
    for (const { inputs } of calls) {
      for (let at = 0; at < script.keys; at += 1) keys.push(inputs[at] ?? "");
      args.push(inputs.length - script.keys);
      for (let at = script.keys; at < inputs.length; at += 1) args.push(inputs[at] ?? "");
    }
    run(keys.length, ...keys, ...args).then(
      (replies) => settle(calls, replies as Reply[]),
      (error: unknown) => {
        for (const { reject } of calls) reject(error);
      },
    );
  };

  return (...inputs) =>
    new Promise((resolve, reject) => {
      if (queued.length === 0) atEnd(send);
      queued.push({ inputs, resolve, reject });
      for (const input of inputs) if (typeof input === "string") characters += input.length;
      if (queued.length >= mostCalls || characters >= mostCharacters) send();
    });
}

/** What the script returned, or the message of the error that it met. */
type Reply = [isOk: 1, reply: unknown] | [isOk: 0, message: string];

function settle(calls: readonly Call[], replies: readonly Reply[]): void {
  calls.forEach(({ resolve, reject }, at) => {
    const [isOk, reply] = replies[at] ?? [0, "ERR the batch has no reply for this call"];
    if (isOk === 1) resolve(reply);
    else reject(new MoveError(String(reply)));
  });
}

/**
 * The body becomes a function whose parameters stand in the place of KEYS and ARGV.
 *
 * KEYS  the keys of the first call, of the second, and so on
 * ARGV  1 how many calls, and for each of them: how many arguments, and these
 * Returns {{1, reply} or {0, message}, ...}, in the order of the calls
 */
const batchOf = ({ keys, lua }: Script): string => `
local function move(KEYS, ARGV)
${lua}
end
local replies, key, arg = {}, 0, 1
for call = 1, tonumber(ARGV[1]) do
  local keys, args = {}, {}
  for i = 1, ${keys} do keys[i] = KEYS[key + i] end
  key = key + ${keys}
  local count = tonumber(ARGV[arg + 1])
  for i = 1, count do args[i] = ARGV[arg + 1 + i] end
  arg = arg + 1 + count
  local ok, reply = pcall(move, keys, args)
  if ok then
    replies[call] = {1, reply}
  else
    local message = type(reply) == 'table' and reply.err or tostring(reply)
    for _, code in ipairs({'READONLY', 'LOADING', 'MASTERDOWN'}) do
      if string.find(message, code, 1, true) then error(reply, 0) end
    end
    replies[call] = {0, message}
  end
end
return replies
`;
