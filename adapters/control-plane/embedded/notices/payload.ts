import { redact } from "../../../../machines/contracts/domain/redact.ts";
import { cutText, wellFormed } from "../../../../machines/contracts/domain/text.ts";
import { isJsonObject, type Json } from "../../../../machines/contracts/domain/json.ts";
import { rfc3339 } from "../routes/request.ts";
import type { Approval, Run } from "../documents.ts";
import type { Notice } from "./tables.ts";

/** Characters of one text in Slack's blocks, which take 3,000. */
const blockLength = 2_800;

/** Characters of what is asked that are looked through for secrets: that takes seconds where there are millions. */
const mostShown = 100_000;
const beginningShown = 10_000;

/** What is asked, as it is shown outside: without what looks like a secret, and the beginning alone of what is very long. */
export function shownDetails({ actionDetails }: Pick<Approval, "actionDetails">): Json {
  const written = JSON.stringify(actionDetails);
  if (written.length <= mostShown) return redact(wellFormed(actionDetails)) as Json;
  const beginning = redact(wellFormed(cutText(written, beginningShown))) as string;
  const { server, name } = isJsonObject(actionDetails) ? actionDetails : {};
  const input = `${beginning}… (the first ${beginningShown} of ${written.length} characters)`;
  return { ...(redact({ server: short(server), name: short(name) }) as object), input };
}

const short = (text: Json | undefined): Json =>
  typeof text === "string" ? cutText(wellFormed(text) as string, 255) : null;

/** Whether that is all of it: nothing is hidden as a secret, cut for its length, or left out for its depth. */
export const isShownWhole = (approval: Pick<Approval, "actionDetails">): boolean =>
  JSON.stringify(shownDetails(approval)) === JSON.stringify(approval.actionDetails);

/** `git/push`, or whatever else is to be done. */
export function actionLabel({ actionType, actionDetails }: Approval): string {
  const { server, name } = isJsonObject(actionDetails) ? actionDetails : {};
  const label = typeof name === "string" && name !== "" ? name : actionType;
  return visible(typeof server === "string" ? `${server}/${label}` : label);
}

/** With what a reader would not see, or would see in another order than it is done in, written out. */
export const visible = (text: string): string =>
  text.replaceAll(
    /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );

const headings = {
  "approval.requested": "Approval needed",
  "approval.reminder": "Still waiting for approval",
  "approval.handed_over": "Approval handed over",
} as const;

/**
 * What one webhook is sent. `text` and `blocks` are a message that Slack's incoming webhooks take as it is; others read
 * `type`, `timestamp` and `data`, as Standard Webhooks names them.
 *
 * @param link null where whoever opened it could not answer
 */
export function payload(
  { kind }: Pick<Notice, "kind">,
  about: { approval: Approval; run: Run | undefined; agent: string | null },
  link: string | null,
  now: number,
) {
  const { approval, run, agent } = about;
  const { id, runId, stepId, actionType, digest, reason, expiresAt, terms } = approval;
  const details = shownDetails(approval);
  const label = actionLabel(approval);
  const input = isJsonObject(details) ? (details["input"] ?? details) : details;
  const head = `${headings[kind]}: ${label}`;
  const who =
    terms?.role === null || terms?.role === undefined ? "" : `, by the role "${terms.role}"`;
  const until = `Answer before ${rfc3339(expiresAt)}${who}.`;
  const said = [`${head}.`, visible(reason), link ?? ""];
  const elsewhere = `stateplane approvals approve ${id}`;
  return {
    type: kind,
    timestamp: rfc3339(now),
    text: escaped(cutText(said.filter((part) => part !== "").join(" "), blockLength)),
    blocks: [
      section(head),
      ...(reason === "" ? [] : [section(reason)]),
      section(JSON.stringify(input, null, 2), true),
      {
        type: "context",
        elements: [
          plain(`${agent === null ? "" : `Agent ${agent}. `}Run ${runId}. ${until}`),
          ...(link === null ? [plain(elsewhere)] : []),
        ],
      },
      ...(link === null
        ? []
        : [
            {
              type: "actions",
              elements: [
                { type: "button", text: plain("Look and answer"), url: link, style: "primary" },
              ],
            },
          ]),
    ],
    data: {
      id,
      run_id: runId,
      step_id: stepId,
      agent,
      run_status: run?.status ?? null,
      action_type: actionType,
      action: label,
      action_details: details,
      digest,
      reason,
      created_at: rfc3339(approval.createdAt),
      expires_at: rfc3339(expiresAt),
      role: terms?.role ?? null,
      four_eyes: terms?.fourEyes ?? false,
      link,
    },
  };
}

/** Slack reads no markup in it, and so no mention of a channel that an argument may hold. */
const plain = (text: string, isMarked = false) => {
  const whole = visible(text);
  const isCut = isMarked && whole.length > blockLength;
  const cut = isCut
    ? `${cutText(whole, blockLength)}\n… (${whole.length - blockLength} more characters)`
    : cutText(whole, blockLength);
  return { type: "plain_text", text: cut, emoji: false };
};

const section = (text: string, isMarked = false) => ({
  type: "section",
  text: plain(text, isMarked),
});

/** Of Slack's own markup, as its reference asks for. */
const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
