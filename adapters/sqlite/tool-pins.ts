import type { ToolPins } from "../../machines/contracts/ports/tool-pins.ts";
import type { Database } from "./database.ts";

/** Pins in a table of their own. */
export function createToolPins({ sql, alone, look }: Database): ToolPins {
  const select = sql.prepare("SELECT pin FROM tool_pins WHERE server = ?");
  const insert = sql.prepare("INSERT OR IGNORE INTO tool_pins (server, pin) VALUES (?, ?)");
  const put = sql.prepare("INSERT OR REPLACE INTO tool_pins (server, pin) VALUES (?, ?)");
  const read = (server: string): string | null => {
    const row = select.get(server);
    return row === undefined ? null : String(row["pin"]);
  };
  return {
    find: (server) => look(() => read(server)),
    keepFirst: (server, pin) =>
      alone(() => {
        insert.run(server, pin);
        return read(server) ?? pin;
      }, true),
    replace: (server, pin) => alone(() => void put.run(server, pin), true),
  };
}
