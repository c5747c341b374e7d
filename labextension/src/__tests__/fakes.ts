/** A server in memory, and nouns to fill it with. */
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { vi } from 'vitest';
import { ApiError, IApi, ICheckpoint, IExecution, IExecutionDetail, IWait } from '../api';
import type { IChange, INews } from '../tokens';

export const trans = nullTranslator.load('kitaru_nb');

export function wait(more: Partial<IWait> = {}): IWait {
  return {
    address: 'ex_1/publish',
    execution: 'ex_1',
    name: 'publish',
    kind: 'person',
    question: 'Publish?',
    schema: { type: 'boolean' },
    show: null,
    status: 'pending',
    asked_at: '2026-03-01T12:00:00Z',
    deadline: null,
    answer: null,
    answered_by: null,
    answered_at: null,
    reason: null,
    binding: 'b1',
    ...more
  };
}

export function execution(number: number, more: Partial<IExecution> = {}): IExecution {
  return {
    id: `ex_${String(number).padStart(6, '0')}`,
    status: 'completed',
    notebook: '/home/a/work/report.ipynb',
    flow: null,
    started_at: '2026-03-01T12:00:00Z',
    ended_at: '2026-03-01T12:01:00Z',
    duration: 60,
    cost: 0.5,
    tokens: 100,
    saved_cost: null,
    saved_duration: null,
    parent: null,
    tags: [],
    attempts: 1,
    ...more
  };
}

export function checkpoint(name: string, more: Partial<ICheckpoint> = {}): ICheckpoint {
  return {
    name,
    ordinal: 1,
    status: 'completed',
    started_at: '2026-03-01T12:00:00Z',
    duration: 1,
    cost: null,
    reads: [],
    writes: [],
    artifacts: [],
    ...more
  };
}

export function detail(number: number, checkpoints: ICheckpoint[], more: Partial<IExecutionDetail> = {}): IExecutionDetail {
  return { ...execution(number), checkpoints, waits: [], ...more };
}

/** Whoever hears of what is new. */
export class FakeNews implements INews {
  readonly changed = new Signal<INews, IChange>(this);

  tell(change: Partial<IChange>): void {
    this.changed.emit({ executions: [], waits: [], all: false, ...change });
  }
}

/** An `IApi` of which each call that is not given fails. */
export function api(calls: Partial<IApi>): IApi {
  const known = Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, vi.fn(call as any)]));
  return new Proxy(known as unknown as IApi, {
    get: (target, name) =>
      (target as any)[name] ?? (() => Promise.reject(new ApiError(`nobody expected ${String(name)}`, 500)))
  });
}

/** A tab's storage; a duplicated tab begins with a copy. */
export function storage(copy?: Iterable<readonly [string, string]>) {
  const kept = new Map<string, string>(copy);
  return {
    get length(): number {
      return kept.size;
    },
    key: (index: number) => [...kept.keys()][index] ?? null,
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
    entries: () => kept.entries()
  };
}
