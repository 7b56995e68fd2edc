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
 * The server is busy while the command runs, so a batch is bounded, in calls and in what they carry. Much of what they
 * carry is the same in all of them (the stream, the group, the consumer): it is sent once. Each place among the keys and
 * the arguments is either common, and stands before the calls, or each call's own.
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
    const inputs = calls.map((call) => call.inputs);
    const common = commonPlaces(inputs);
    const [first = []] = inputs;
    const keys = first.slice(0, script.keys).filter((_, at) => common[at]);
    const isCommon = common.map((is) => (is ? "1" : "0")).join("");
    const args = [
      calls.length,
      isCommon,
      ...first.slice(script.keys).filter((_, at) => common[script.keys + at]),
    ];
    for (const own of inputs) {
      args.push(own.length - script.keys);
      for (let at = 0; at < own.length; at += 1) {
        if (common[at]) continue;
        (at < script.keys ? keys : args).push(own[at] ?? "");
      }
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

/** Of each place that every call has, whether it holds the same in all of them. */
function commonPlaces(inputs: readonly (readonly (string | number)[])[]): boolean[] {
  const [first = []] = inputs;
  const shortest = inputs.reduce((least, { length }) => Math.min(least, length), first.length);
  return Array.from({ length: shortest }, (_, at) => inputs.every((own) => own[at] === first[at]));
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
 * The body becomes a function, and KEYS and ARGV what it sees by these names, as the helpers do, which are made once.
 *
 * KEYS  the common ones, then the own ones of the first call, of the second, and so on
 * ARGV  1 how many calls, 2 of each place among keys and arguments `1` where it is common, then the common arguments, and
 *       for each call: how many arguments it has in all, and its own
 * Returns {{1, reply} or {0, message}, ...}, in the order of the calls
 */
const batchOf = ({ keys, helpers = "", lua }: Script): string => `
local allKeys, all = KEYS, ARGV
local KEYS, ARGV
${helpers}
local function move()
${lua}
end
local count, isCommon = tonumber(all[1]), all[2]
local key, arg, commonKeys, common = 0, 2, {}, {}
for at = 1, #isCommon do
  if string.byte(isCommon, at) == 49 then
    if at <= ${keys} then
      key = key + 1
      commonKeys[at] = allKeys[key]
    else
      arg = arg + 1
      common[at - ${keys}] = all[arg]
    end
  end
end
local replies = {}
for call = 1, count do
  KEYS, ARGV = {}, {}
  for i = 1, ${keys} do
    local own = commonKeys[i]
    if not own then
      key = key + 1
      own = allKeys[key]
    end
    KEYS[i] = own
  end
  arg = arg + 1
  for i = 1, tonumber(all[arg]) do
    local own = common[i]
    if not own then
      arg = arg + 1
      own = all[arg]
    end
    ARGV[i] = own
  end
  local ok, reply = pcall(move)
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
