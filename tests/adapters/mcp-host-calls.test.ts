import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { failure } from "../support/failure.ts";
import { fileSystemServer } from "../support/file-system-server.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { value } from "../support/value.ts";
import { callTool } from "../support/call-tool.ts";

const never = new AbortController().signal;
const folder = useTemporaryFolder();
const { warnings, hostOf, odd } = useMcpHosts();

beforeAll(() => writeFile(join(folder, "hello.txt"), "hello there"));

describe("FerrumDeck file system server", () => {
  test("its tools are listed and described with schemas and safety", async () => {
    const host = hostOf([fileSystemServer(folder)]);
    const tools = value(await host.list(never));
    const read = tools.find((tool) => tool.name === "read_text_file");
    expect(read).toMatchObject({ server: "files", readOnly: true, safeToRepeat: true });
    expect(read?.inputSchema).toMatchObject({ properties: { path: { type: "string" } } });
    const move = value(await host.describe("move_file", never));
    expect(move).toMatchObject({ name: "move_file", readOnly: false, safeToRepeat: false });
  });

  test("a call returns the tool's structured content", async () => {
    const host = hostOf([fileSystemServer(folder)]);
    const path = join(folder, "hello.txt");
    const result = value(await callTool(host, "read_text_file", { path }, never));
    expect(result).toEqual({ server: "files", content: { content: "hello there" } });
  });

  test("a tool's own error is a failure that no retry mends", async () => {
    const host = hostOf([fileSystemServer(folder)]);
    const outcome = await callTool(host, "read_text_file", { path: "/etc/passwd" }, never);
    expect(failure(outcome)).toMatchObject({ kind: "tool_failed", retryable: false });
    expect(failure(outcome).message).toContain("Access denied");
  });
});

describe("what goes in and out", () => {
  test.each([
    [{}, "value"],
    [{ value: 3 }, "/value"],
    [{ value: null, count: true }, "/count"],
    [{ value: "x", nested: { list: ["a", "b"] } }, "/nested/list/1"],
  ])("input %j is refused before the call, naming %s", async (input, path) => {
    const refused = failure(await callTool(hostOf([odd()]), "strict", input, never));
    expect(refused).toMatchObject({ kind: "invalid_input", retryable: false });
    expect(refused.message).toContain(path);
  });

  test("input that matches a schema with lists of types goes through", async () => {
    const result = value(await callTool(hostOf([odd()]), "strict", { value: null }, never));
    expect(result.content).toBe('{"value":null}');
  });

  test("a schema of draft 7 is enforced, one that nobody can read disables its tool alone [mcp.schemas]", async () => {
    const host = hostOf([odd()]);
    expect(failure(await callTool(host, "older", { pair: ["x"] }, never)).kind).toBe(
      "invalid_input",
    );
    const refused = failure(await callTool(host, "unreadable", { x: 1 }, never));
    expect(refused).toMatchObject({ kind: "invalid_input", retryable: false });
    expect(refused.message).toMatch(
      /tool "unreadable" .* can't be used: its input schema .*\/x\/type/,
    );
    expect(value(await host.list(never)).map(({ name }) => name)).not.toContain("unreadable");
    expect(warnings).toEqual(["MCP tool disabled: its schema can't be used"]);
  });

  test("structured content that breaks the tool's own schema is an invalid output", async () => {
    const broken = failure(await callTool(hostOf([odd()]), "liar", {}, never));
    expect(broken).toMatchObject({ kind: "invalid_output", retryable: false });
    expect(broken.message).toContain("/n");
  });

  test("tells the server the call's idempotency key, beside the arguments and not among them", async () => {
    const host = hostOf([odd()]);
    const told = value(await callTool(host, "meta", {}, never, "run_1/stp_1/tool:meta"));
    expect(JSON.parse(String(told.content))).toEqual({
      // Progress is asked for, so that a long call can show that it lives.
      progressToken: expect.anything(),
      "stateplane/idempotency-key": "run_1/stp_1/tool:meta",
    });
  });

  test("a picture is represented by its type and size", async () => {
    expect(value(await callTool(hostOf([odd()]), "picture", {}, never)).content).toEqual([
      { type: "text", text: "look" },
      { type: "image", mimeType: "image/png", bytes: 3_000 },
    ]);
  });

  test("a long complaint is cut", async () => {
    const complaint = failure(await callTool(hostOf([odd()]), "complain", {}, never));
    expect(complaint.kind).toBe("tool_failed");
    expect(complaint.message.length).toBeLessThan(4_300);
  });

  test("a server sees its configured environment and nothing else of ours", async () => {
    process.env["STATEPLANE_TEST_SECRET"] = "do not leak";
    const host = hostOf([odd({ GIVEN: "yes" })]);
    const result = value(await callTool(host, "environment", {}, never));
    delete process.env["STATEPLANE_TEST_SECRET"];
    const seen = Object.keys(JSON.parse(String(result.content)) as object);
    const allowed = ["GIVEN", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"];
    expect(seen).toContain("GIVEN");
    expect(seen.filter((name) => !allowed.includes(name))).toEqual([]);
  });
});
