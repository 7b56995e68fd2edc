/** One bare SDK call, to load what it needs; then, at each SIGHUP, as many at once as it is told, and nothing else. */
import OpenAI from "openai";

const [sinkUrl = "", count = "0"] = process.argv.slice(2);
const client = new OpenAI({ apiKey: "key", baseURL: sinkUrl, maxRetries: 0, logLevel: "off" });
const call = () =>
  client.chat.completions.create({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "wait" }],
  });

process.on("SIGHUP", () => {
  void Promise.all(Array.from({ length: Number(count) }, call)).then(() =>
    process.stderr.write("all answered\n"),
  );
});
setInterval(() => {}, 60_000);
await call();
process.stderr.write("loaded\n");
