import { Signal } from '@lumino/signaling';
import { expect, test, vi } from 'vitest';
import { News, SCHEMA } from '../news';
import type { IChange } from '../tokens';

function heard() {
  const stream = new Signal<any, any>({});
  const news = new News(stream as any, 1000);
  const changes: IChange[] = [];
  news.changed.connect((_, change) => changes.push(change));
  return { stream, news, changes };
}

test('only our own events count, and only what they are meant to hold', () => {
  const { stream, changes } = heard();

  stream.emit({ schema_id: 'https://else.where/v1', executions: ['x'] });
  stream.emit({ schema_id: SCHEMA, executions: ['ex_1', 7], waits: 'no', seq: 3 });

  expect(changes).toEqual([{ executions: ['ex_1'], waits: [], all: false }]);
});

test('a count that has not grown is of another journal: all may have changed', () => {
  const { stream, changes } = heard();

  stream.emit({ schema_id: SCHEMA, executions: [], waits: [], seq: 9 });
  stream.emit({ schema_id: SCHEMA, executions: [], waits: [], seq: 2 });

  expect(changes.map(change => change.all)).toEqual([false, true]);
});

test('the heart beats slowly, and not after the end', () => {
  vi.useFakeTimers();
  const { news, changes } = heard();

  vi.advanceTimersByTime(2500);
  news.dispose();
  vi.advanceTimersByTime(5000);

  expect(changes).toEqual([
    { executions: [], waits: [], all: true },
    { executions: [], waits: [], all: true }
  ]);
});
