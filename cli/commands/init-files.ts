/** What `init` writes, by name; package.json is made of what is there. */
export const projectFiles: Readonly<Record<string, string>> = {
  "stateplane.config.ts": `import { defineConfig } from "stateplane";
import { policy } from "./policy.ts";
import { sendPostcard } from "./send-postcard.ts";

export default defineConfig({
  tools: [sendPostcard],
  policy,
  // What this worker may do at all. A tool in approvalRequired runs only after a person's yes.
  allowlist: { approvalRequired: ["send_postcard"] },
  agents: {
    assistant: {
      systemPrompt: "You write short, friendly postcards.",
      allowedTools: ["send_postcard"],
      approvalRequiredTools: ["send_postcard"],
    },
  },
});
`,
  "send-postcard.ts": `import { appendFile } from "node:fs/promises";
import { defineTool } from "stateplane";

/** A tool is a function with a name and a schema. This one writes to a file, as a real one would call an API. */
export const sendPostcard = defineTool({
  name: "send_postcard",
  description: "Sends a postcard.",
  input: {
    type: "object",
    properties: { to: { type: "string" }, text: { type: "string" } },
    required: ["to", "text"],
    additionalProperties: false,
  },
  // Without annotations a tool counts as unsafe: it is never repeated unless a person says so.
  run: async ({ to, text }) => {
    await appendFile("postcards.txt", \`To \${String(to)}: \${String(text)}\\n\`);
    return { sent: true };
  },
});
`,
  "policy.ts": `import { definePolicy, verdict } from "stateplane";

/** Asked before every action. The strictest verdict of this policy, the lists and the control plane stands. */
export const policy = definePolicy(({ name, input }) => {
  const isLong = name.endsWith("send_postcard") && String(input["text"]).length > 200;
  return isLong
    ? verdict.deny("a postcard has room for 200 characters")
    : verdict.allow("nothing speaks against it");
});
`,
  "send-postcard.test.ts": `import { test } from "node:test";
import { checkLifecycle } from "stateplane/testing";
import { policy } from "./policy.ts";
import { sendPostcard } from "./send-postcard.ts";

// Its run is not called: no postcard is sent here. Its schema and annotations, and the policy, are the real ones.
test("a postcard is sent once, whatever dies in between", async () => {
  await checkLifecycle({
    tool: sendPostcard,
    input: { to: "Ada", text: "Greetings from the test." },
    policy,
    answer: { sent: true },
  });
});
`,
  "steps.yaml": `# A run of one step: stateplane submit assistant --steps steps.yaml --watch
- name: greet Ada
  type: tool
  input:
    tool_name: send_postcard
    tool_input: { to: Ada, text: Greetings from my first step. }
`,
  "tsconfig.json": `{
  "compilerOptions": {
    "strict": true,
    "noEmit": true,
    "target": "es2024",
    "module": "nodenext",
    "allowImportingTsExtensions": true,
    "erasableSyntaxOnly": true,
    "verbatimModuleSyntax": true,
    "types": ["node"],
    "skipLibCheck": true
  }
}
`,
  ".gitignore": "node_modules/\n.stateplane/\nevals/reports/\npostcards.txt\n",
};
