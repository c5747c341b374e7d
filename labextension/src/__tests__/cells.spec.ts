import { MessageLoop } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';
import { expect, test, vi } from 'vitest';
import type { ICell, IDead } from '../api';
import { badgeOf, figuresOf } from '../cells/badge';
import { Running } from '../cells/running';
import { markFor, markOf, toggled } from '../cells/source';
import { mistakes, requestOf, rowsFor } from '../replay/model';
import { ResumeBar, tellOf } from '../resume/bar';
import { checkpoint, trans } from './fakes';

const cell: ICell = {
  checkpoint: 'load',
  status: 'fresh',
  duration: 12,
  cost: 0.25,
  saved_duration: null,
  started_at: null,
  restored_from: null,
  why: 'nothing has changed',
  wait: null
};

test('a cell that is no checkpoint has no badge, unless it waits', () => {
  expect(badgeOf(undefined, null, false)).toBeNull();
  expect(badgeOf(undefined, 'running', false)).toBeNull();
  expect(badgeOf(undefined, null, true)).toEqual({ status: 'waiting', cell: null });
});

test('that a cell runs is known here before the server says so', () => {
  expect(badgeOf(cell, 'running', false)?.status).toBe('running');
  expect(badgeOf(cell, 'queued', false)?.status).toBe('queued');
  expect(badgeOf(cell, null, false)?.status).toBe('fresh');
  expect(badgeOf({ ...cell, status: null }, null, false)).toBeNull();
});

test('a cell that holds on to the kernel while it waits waits, and one that is queued again does not', () => {
  expect(badgeOf(cell, 'running', true)?.status).toBe('waiting');
  expect(badgeOf(cell, 'queued', true)?.status).toBe('queued');
});

test('of the cells that were given to the kernel the one runs that it has begun with', () => {
  const iopubMessage = new Signal<object, any>({});
  const panel = { sessionContext: { iopubMessage }, disposed: new Signal({}), isDisposed: false };
  const given = (id: string) =>
    ({ model: { type: 'code', executionState: 'running' }, outputArea: { future: { msg: { header: { msg_id: id } } } } }) as any;
  const [first, second] = [given('a'), given('b')];
  const running = new Running(panel as any);
  const heard = vi.fn();
  running.changed.connect(heard);
  const turns = () => [running.of(first), running.of(second)];
  const begins = (id: string) => iopubMessage.emit({ header: { msg_type: 'execute_input' }, parent_header: { msg_id: id } });

  expect(turns()).toEqual(['queued', 'queued']);
  begins('a');
  expect(turns()).toEqual(['running', 'queued']);
  first.model.executionState = 'idle';
  begins('b');
  expect(turns()).toEqual([null, 'running']);
  iopubMessage.emit({ header: { msg_type: 'status' }, parent_header: { msg_id: 'x' } });
  expect(heard).toHaveBeenCalledTimes(2);

  running.dispose();
  begins('a');
  expect(heard).toHaveBeenCalledTimes(2);
});

test('a badge tells what it took, or what it saved', () => {
  expect(figuresOf({ status: 'fresh', cell }, trans)).toBe('12 s · $0.25');
  expect(figuresOf({ status: 'restored', cell: { ...cell, saved_duration: 12 } }, trans)).toBe('saved 12 s · $0.25');
  expect(figuresOf({ status: 'running', cell }, trans)).toBe('');
});

test.each([
  ['x = 1', '%%checkpoint\nx = 1'],
  ['%%checkpoint load --fresh\nx = 1', 'x = 1'],
  ['%%time\nx = 1', '%%time\n%%checkpoint\nx = 1'],
  ['%%time\n%%checkpoint\nx = 1', '%%time\nx = 1'],
  ['# %%checkpoint in words\nx', '%%checkpoint\n# %%checkpoint in words\nx'],
  ['', '%%checkpoint\n'],
  ['# on the weather\n\n%%checkpoint load\nx', '# on the weather\n\nx'],
  ['doc = """\n%%checkpoint load\n"""', '%%checkpoint\ndoc = """\n%%checkpoint load\n"""'],
  ['%%writefile a.py\n%%checkpoint fit\n1', '%%checkpoint\n%%writefile a.py\n%%checkpoint fit\n1'],
  ['%%checkpoints\nx', '%%checkpoint\n%%checkpoints\nx'],
  ['%%checkpoint', '']
])('%j becomes %j', (before, after) => {
  expect(toggled(before)).toBe(after);
});

test('a checkpoint that is asked for by name gets it', () => {
  expect(toggled('x = 1', markFor('load'))).toBe('%%checkpoint load\nx = 1');
});

test.each([
  ['', '%%checkpoint'],
  ['two words', '%%checkpoint "two words"'],
  ["it's", `%%checkpoint "it's"`],
  ['a\nimport os', '%%checkpoint "a import os"']
])('the name %j makes one line of words: %s', (name, mark) => {
  expect(markFor(name)).toBe(mark);
});

test('only the line that marks a cell is one', () => {
  expect(markOf('# why\n%%checkpoint load --fresh \nx')).toBe('%%checkpoint load --fresh');
  expect(markOf('x = """\n%%checkpoint\n"""')).toBeNull();
  expect(markOf('%%checkpoint?')).toBeNull();
});

test('a replay’s values are read by Python as they were typed', () => {
  const rows = [
    { name: 'lr', value: '1.0' },
    { name: 'account', value: '9007199254740993' },
    { name: 'on', value: 'true' },
    { name: 'name', value: '"a"' },
    { name: 'pair', value: '(1, 2)' },
    { name: 'table', value: '{"a": 1}' },
    { name: 'kept', value: '' },
    { name: '', value: '' }
  ];

  expect(requestOf('train', rows)).toEqual({
    from: 'train',
    inputs: {
      lr: { expr: '1.0' },
      account: { expr: '9007199254740993' },
      on: true,
      name: 'a',
      pair: { expr: '(1, 2)' },
      table: { expr: '{"a": 1}' }
    }
  });
});

test('another checkpoint offers its own names and keeps what was typed', () => {
  const was = { type: 'int', literal: '3' };
  const inputs = ['x', 'y'].map(name => ({ name, ...was }));
  const typed = [{ name: 'own', value: '2' }, { name: 'y', value: '1', was }, { name: 'z', value: '', was }];

  expect(rowsFor(inputs, typed)).toEqual([
    { name: 'x', value: '', was },
    { name: 'y', value: '1', was },
    { name: 'own', value: '2' }
  ]);
});

test('a value without a proper name is a mistake in its row', () => {
  const rows = [
    { name: 'x', value: '1' },
    { name: '1x', value: '1' },
    { name: '', value: '2' },
    { name: '!', value: '' }
  ];

  expect(Object.keys(mistakes(rows, trans))).toEqual(['1', '2']);
});

test('what a dead kernel left is told in one line', () => {
  const dead: IDead = {
    execution: 'ex_1',
    status: 'interrupted',
    at: null,
    why: 'killed by SIGKILL',
    restorable: 2,
    last: 'train',
    saved_duration: 192,
    saved_cost: 1.5
  };

  expect(tellOf(dead, trans)).toBe(
    'The last execution was interrupted: killed by SIGKILL · 2 checkpoints can be put back, up to “train” · saves 3 min 12 s · $1.50'
  );
});

test('a kernel that dies while it resumes leaves a bar that can be pressed again', async () => {
  const dead = { execution: 'ex_1', status: 'interrupted', at: null, why: null, restorable: 1, last: 'load' };
  const model = { dead, changed: new Signal({}), of: () => undefined };
  const requestExecute = vi.fn(() => ({ done: Promise.reject(new Error('Canceled future')) }));
  const sessionContext = { ready: Promise.resolve(), session: { kernel: { requestExecute } } };
  const bar = new ResumeBar({ sessionContext, content: { widgets: [] } } as any, model as any, trans);
  Widget.attach(bar, document.body);

  await bar.resume();
  await bar.resume();
  MessageLoop.flush();

  await vi.waitFor(() => expect(bar.node.querySelector('[role=alert]')?.textContent).toContain('Canceled future'));
  expect(bar.node.querySelector('button')).toHaveProperty('disabled', false);
  expect(requestExecute).toHaveBeenCalledTimes(2);
  bar.dispose();
});
