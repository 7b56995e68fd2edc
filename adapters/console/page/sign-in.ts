import { useRef, useState } from "preact/hooks";
import { ApiFailure, call, keepKey } from "./api.ts";
import { html } from "./html.ts";
import { Heading, Trouble } from "./parts.ts";

/** Asks for a key, and keeps one that opens. */
export function SignIn() {
  const field = useRef<HTMLInputElement>(null);
  const [failure, setFailure] = useState<ApiFailure | null>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    const key = field.current?.value.trim() ?? "";
    setBusy(true);
    try {
      if (!/^[\x21-\x7e]+$/.test(key))
        throw new ApiFailure(0, "Expected a key, which has no blanks.");
      await call("GET", "/v1/approvals?limit=1", undefined, key);
      keepKey(key);
    } catch (error) {
      const said = error instanceof ApiFailure && error.status === 401;
      setFailure(
        said
          ? new ApiFailure(
              401,
              "This key opens nothing: it is unknown, has expired or was revoked.",
            )
          : (error as ApiFailure),
      );
      setBusy(false);
      field.current?.focus();
    }
  };
  return html`<main class="sign-in" id="content">
    <${Heading} title="Stateplane" />
    <form onSubmit=${submit}>
      <label for="key">API key</label>
      <input
        id="key"
        ref=${field}
        type="password"
        autocomplete="off"
        spellcheck=${false}
        required
        aria-describedby="about-key"
      />
      <${Trouble} failure=${failure} />
      <button class="main" disabled=${isBusy}>Sign in</button>
      <p class="quiet" id="about-key">
        It is FD_API_KEY, a key of <code>stateplane keys create</code>, or what
        <code>stateplane dev</code>
        made up: it says at its start where it keeps it. What you enter is kept in this tab until
        you close it.
      </p>
    </form>
  </main>`;
}
