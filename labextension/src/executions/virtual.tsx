/** A list of rows of one height, of which only those in view are in the document. */
import * as React from 'react';

export interface IVirtualListProps {
  count: number;
  rowHeight: number;
  label: string;
  /** Draws one row; `focused` rows take part in the tab order. */
  row: (index: number, focused: boolean) => React.ReactNode;
  /** The end of what there is comes into view. */
  onEnd: () => void;
}

const BEYOND = 6; // rows that are drawn above and below what is in view

/** The rows to draw. Pure. */
export function windowOf(top: number, height: number, rowHeight: number, count: number): [number, number] {
  const first = Math.max(0, Math.floor(top / rowHeight) - BEYOND);
  const last = Math.min(count, Math.ceil((top + height) / rowHeight) + BEYOND);
  return [Math.min(first, last), last];
}

export function VirtualList({ count, rowHeight, label, row, onEnd }: IVirtualListProps): JSX.Element {
  const box = React.useRef<HTMLDivElement>(null);
  const [top, setTop] = React.useState(0);
  const [height, setHeight] = React.useState(600);
  const [focus, setFocus] = React.useState(0);
  const [first, last] = windowOf(top, height, rowHeight, count);

  React.useLayoutEffect(() => {
    const node = box.current!;
    const measure = () => setHeight(node.clientHeight || 600);
    const observer = new ResizeObserver(measure);
    observer.observe(node);
    measure();
    return () => observer.disconnect();
  }, []);
  React.useEffect(() => {
    if (last >= count) {
      onEnd();
    }
  }, [last, count]);

  const move = (event: React.KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -count, End: count };
    const step = steps[event.key];
    if (step === undefined || count === 0) {
      return;
    }
    event.preventDefault();
    const next = Math.min(count - 1, Math.max(0, focus + step));
    setFocus(next);
    const node = box.current!;
    const at = next * rowHeight;
    if (at < node.scrollTop) {
      node.scrollTop = at;
    } else if (at + rowHeight > node.scrollTop + node.clientHeight) {
      node.scrollTop = at + rowHeight - node.clientHeight;
    }
    // After the row is drawn, where it was not in the document yet.
    window.requestAnimationFrame(() =>
      node.querySelector<HTMLElement>(`[data-index="${next}"] button`)?.focus({ preventScroll: true })
    );
  };

  return (
    <div
      ref={box}
      className="jp-kitaru-List"
      role="list"
      aria-label={label}
      onScroll={event => setTop(event.currentTarget.scrollTop)}
      onKeyDown={move}
    >
      <div style={{ height: count * rowHeight, position: 'relative' }}>
        {Array.from({ length: last - first }, (_, offset) => first + offset).map(index => (
          <div
            key={index}
            role="listitem"
            aria-setsize={count}
            aria-posinset={index + 1}
            data-index={index}
            className="jp-kitaru-List-item"
            style={{ height: rowHeight, transform: `translateY(${index * rowHeight}px)` }}
            onFocus={() => setFocus(index)}
          >
            {row(index, index === Math.min(focus, count - 1))}
          </div>
        ))}
      </div>
    </div>
  );
}
