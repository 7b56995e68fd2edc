import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "./html.ts";

const rowHeight = 26;

interface ListProps<T> {
  label: string;
  items: readonly T[];
  idOf: (item: T) => number;
  chosen: number | null;
  onChoose: (item: T) => void;
  /** The cells of one item. */
  of: (item: T) => ComponentChildren;
  className: string;
  /** Shows the end, as long as nobody scrolls up. */
  follows?: boolean;
}

/**
 * A list of any length: only what can be seen is in the document. By keyboard it is one stop, within which the arrows,
 * Page Up and Down, Home and End choose.
 */
export function List<T>({
  label,
  items,
  idOf,
  chosen,
  onChoose,
  of,
  className,
  follows = false,
}: ListProps<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const isAtEnd = useRef(true);
  useEffect(() => {
    if (follows && isAtEnd.current && box.current !== null)
      box.current.scrollTop = box.current.scrollHeight;
  }, [items.length, items.at(-1)]);
  const seen = Math.ceil((box.current?.clientHeight ?? 300) / rowHeight) + 2;
  const first = Math.max(0, Math.min(Math.floor(top / rowHeight), items.length - seen));
  const at = chosen === null ? -1 : items.findIndex((item) => idOf(item) === chosen);

  const onScroll = (event: Event) => {
    const { scrollTop, scrollHeight, clientHeight } = event.currentTarget as HTMLElement;
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < rowHeight;
    setTop(scrollTop);
  };
  const onKey = (event: KeyboardEvent) => {
    const page = Math.max(1, seen - 3);
    const steps: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at < 0 ? items.length - 1 : at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: items.length - 1,
    };
    const wanted = steps[event.key];
    if (wanted === undefined || items.length === 0) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(wanted, items.length - 1));
    const item = items[next];
    if (item !== undefined) onChoose(item);
    const { current } = box;
    if (current === null) return;
    const y = next * rowHeight;
    if (y < current.scrollTop) current.scrollTop = y;
    else if (y + rowHeight > current.scrollTop + current.clientHeight)
      current.scrollTop = y + rowHeight - current.clientHeight;
  };
  const shown = items.slice(first, first + seen);
  const id = (item: T) => `${className}-${idOf(item)}`;
  return html`<div
    class=${`list ${className}`}
    ref=${box}
    role="listbox"
    aria-label=${label}
    tabindex="0"
    aria-activedescendant=${at >= first && at < first + seen && items[at] !== undefined ? id(items[at]) : undefined}
    onScroll=${onScroll}
    onKeyDown=${onKey}
  >
    <div
      style=${{ height: `${items.length * rowHeight}px`, position: "relative" }}
      role="presentation"
    >
      ${shown.map(
        (item, nth) =>
          html`<div
            key=${idOf(item)}
            id=${id(item)}
            role="option"
            aria-selected=${idOf(item) === chosen}
            aria-setsize=${items.length}
            aria-posinset=${first + nth + 1}
            class="item"
            style=${{ top: `${(first + nth) * rowHeight}px` }}
            onClick=${() => onChoose(item)}
          >
            ${of(item)}
          </div>`,
      )}
    </div>
  </div>`;
}
