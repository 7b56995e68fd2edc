import { expect } from "vitest";
import { defaultOptions, defaultScreening } from "../../actors/options.ts";
import { screenOf } from "../../actors/step/screening.ts";

/** What a handler's scope has where nothing is configured and the job has no secrets. */
export const screening = {
  ...defaultScreening,
  ...screenOf({ options: defaultOptions, session: { ownSecrets: () => null } }),
};

/** What a tool said, as a model is shown it: between markers. */
export const asData = (text: string): unknown =>
  expect.stringMatching(
    new RegExp(
      String.raw`^<external_content source="[^"]*" id="([0-9a-f]{16})">\n${text.replaceAll(/[$()*+.?[\\\]^{|}]/gu, String.raw`\$&`)}\n</external_content id="\1">$`,
      "u",
    ),
  );
