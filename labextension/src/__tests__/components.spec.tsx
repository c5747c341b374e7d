import * as React from 'react';
import { act, fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import { expect, test, vi } from 'vitest';
import { ApiError } from '../api';
import { Detail } from '../executions/detail';
import { Log } from '../executions/log';
import { ExecutionRow } from '../executions/row';
import { Timeline } from '../executions/timeline';
import { VirtualList } from '../executions/virtual';
import { day } from '../format';
import { Problem, wordsOf } from '../problem';
import { ReplayForm } from '../replay/view';
import { WaitCard } from '../waits/card';
import { FakeNews, api, checkpoint, detail, execution, trans, wait } from './fakes';

test('a question of yes or no has two buttons, and the reason goes along', async () => {
  const onAnswer = vi.fn(async () => undefined);
  render(<WaitCard wait={wait()} trans={trans} onAnswer={onAnswer} />);

  fireEvent.click(screen.getByText('Add a reason'));
  fireEvent.change(screen.getByLabelText(/Reason/), { target: { value: 'too early' } });
  fireEvent.click(screen.getByText('Reject'));

  await waitFor(() => expect(onAnswer).toHaveBeenCalledWith(false, 'too early'));
});

const REFUND = {
  type: 'object',
  required: ['amount'],
  properties: {
    amount: { type: 'integer', title: 'Amount (USD)', default: 40, description: 'At most what was paid' },
    tier: { type: 'string', enum: ['low', 'high'], title: 'Tier', default: 'low' },
    mail: { type: 'boolean', title: 'Send a mail', default: true },
    note: { anyOf: [{ type: 'string' }, { type: 'null' }], title: 'Note', default: null }
  }
};

test.each([
  ['budget', /Raise the budget/, 'kitaru-nb resume ex_1 --budget USD'],
  ['room', /Make room/, 'kitaru-nb gc && kitaru-nb resume ex_1']
] as const)('what waits for a %s has no form but the command that ends it', (kind, said, command) => {
  const { container } = render(<WaitCard wait={wait({ kind, execution: 'ex_1' })} trans={trans} onAnswer={vi.fn()} />);

  expect(screen.getByText(said)).toBeTruthy();
  expect(screen.getByText(command)).toBeTruthy();
  expect(container.querySelectorAll('button, input')).toHaveLength(0);
});

test('an answer that is refused gives the keyboard back', async () => {
  const onAnswer = () => Promise.reject(new ApiError('down', 503));
  render(<WaitCard wait={wait()} trans={trans} onAnswer={onAnswer} />);
  const button = screen.getByText('Reject');
  button.focus();
  fireEvent.click(button);
  act(() => button.blur()); // as a browser does to what is disabled

  await screen.findByText(/down/);

  expect(document.activeElement).toBe(button);
});

test('every field of a form has a label of its own, and sends its default', async () => {
  const onAnswer = vi.fn(async () => undefined);
  render(<WaitCard wait={wait({ schema: REFUND })} trans={trans} onAnswer={onAnswer} />);

  expect(screen.getByLabelText('Amount (USD)')).toHaveProperty('value', '40');
  expect(screen.getByLabelText('Tier')).toBeTruthy();
  expect(screen.getByLabelText('Send a mail')).toHaveProperty('checked', true);
  expect(screen.getByLabelText(/Note/)).toBeTruthy();
  fireEvent.change(screen.getByLabelText('Amount (USD)'), { target: { value: '25' } });
  fireEvent.click(screen.getByText('Send answer'));

  await waitFor(() => expect(onAnswer).toHaveBeenCalledWith({ amount: 25, tier: 'low', mail: true }, undefined));
});

const LARGE: any = 9007199254740993n;

test('what is to be approved is shown to the last digit', () => {
  const show: any = { account: LARGE };
  const { container } = render(<WaitCard wait={wait({ show })} trans={trans} onAnswer={vi.fn()} />);

  expect(container.querySelector('dd')!.textContent).toBe('9007199254740993');
});

test.each([[{ id: LARGE, of: [1] }], [[{ id: LARGE }, { id: 1 }]], [[LARGE]]])('so it is in data of any form', show => {
  const { container } = render(<WaitCard wait={wait({ show: show as any })} trans={trans} onAnswer={vi.fn()} />);

  expect(container.querySelector('.jp-kitaru-Show')!.textContent).toContain('9007199254740993');
});

test('a large number is a default, a choice and an answer to the last digit', async () => {
  const onAnswer = vi.fn(async () => undefined);
  const properties = {
    preset: { type: 'integer', title: 'Preset', default: LARGE },
    chosen: { type: 'integer', enum: [LARGE, 9007199254740992, 5], title: 'Chosen' },
    typed: { type: 'integer', title: 'Typed' }
  };
  render(<WaitCard wait={wait({ schema: { type: 'object', properties } })} trans={trans} onAnswer={onAnswer} />);
  const chosen = screen.getByLabelText(/Chosen/) as HTMLSelectElement;

  expect(screen.getByLabelText('Preset')).toHaveProperty('value', '9007199254740993');
  expect([...chosen.options].map(option => option.text)).toContain('9007199254740993');
  fireEvent.change(chosen, { target: { value: [...chosen.options].find(option => option.text === '9007199254740993')!.value } });
  fireEvent.change(screen.getByLabelText(/Typed/), { target: { value: '9007199254740995' } });
  fireEvent.click(screen.getByText('Send answer'));

  const sent = { preset: LARGE, chosen: LARGE, typed: 9007199254740995n };
  await waitFor(() => expect(onAnswer).toHaveBeenCalledWith(sent, undefined));
});

test('a list is put together entry by entry, and names of one’s own are typed', async () => {
  const onAnswer = vi.fn(async () => undefined);
  const properties = {
    tags: { type: 'array', items: { type: 'string' }, title: 'Tags', default: [] },
    sizes: { type: 'object', additionalProperties: { type: 'integer' }, title: 'Sizes' }
  };
  render(<WaitCard wait={wait({ schema: { type: 'object', properties } })} trans={trans} onAnswer={onAnswer} />);
  const tags = screen.getByRole('group', { name: 'Tags' });

  fireEvent.click(within(tags).getByText('Add one'));
  fireEvent.click(within(tags).getByText('Add one'));
  fireEvent.change(within(tags).getByLabelText('Number 1'), { target: { value: 'kept' } });
  fireEvent.click(within(tags).getByLabelText('Remove number 2'));
  fireEvent.click(screen.getByText('Add another name'));
  fireEvent.blur(screen.getByLabelText(/^Name of/), { target: { value: 'small' } });
  fireEvent.change(screen.getByLabelText('small'), { target: { value: '3' } });
  fireEvent.click(screen.getByText('Send answer'));

  await waitFor(() => expect(onAnswer).toHaveBeenCalledWith({ tags: ['kept'], sizes: { small: 3 } }, undefined));
});

test('a list that is the answer has a name for each of its fields', () => {
  render(<WaitCard wait={wait({ schema: { type: 'array', items: { type: 'integer' } } })} trans={trans} onAnswer={vi.fn()} />);

  fireEvent.click(screen.getByText('Add one'));

  expect(screen.getByLabelText('Number 1')).toHaveProperty('type', 'number');
});

test('a list whose places are different has a field for each', async () => {
  const onAnswer = vi.fn(async () => undefined);
  const schema = { type: 'array', prefixItems: [{ type: 'number' }, { type: 'string' }], minItems: 2, maxItems: 2 };
  render(<WaitCard wait={wait({ schema })} trans={trans} onAnswer={onAnswer} />);

  fireEvent.change(screen.getByLabelText('Number 1'), { target: { value: '1.5' } });
  fireEvent.change(screen.getByLabelText('Number 2'), { target: { value: 'x' } });
  fireEvent.click(screen.getByText('Send answer'));

  await waitFor(() => expect(onAnswer).toHaveBeenCalledWith([1.5, 'x'], undefined));
});

test.each([
  [{}, '{"a": [1, 9007199254740993]}', { a: [1, 9007199254740993n] }],
  [{ title: 'Any' }, 'null', null],
  [{ type: ['integer', 'string'] }, '"x"', 'x']
])('what %j takes is typed as JSON, and nothing is sent that is none', async (schema, typed, answer) => {
  const onAnswer = vi.fn(async () => undefined);
  render(<WaitCard wait={wait({ schema: schema as any })} trans={trans} onAnswer={onAnswer} />);
  const field = screen.getByLabelText(/Answer|Any/);

  fireEvent.click(screen.getByText('Send answer'));
  expect((await screen.findByRole('alert')).textContent).toBe('is required');
  fireEvent.change(field, { target: { value: '{oops' } });
  fireEvent.click(screen.getByText('Send answer'));
  await waitFor(() => expect(document.activeElement).toBe(field));
  expect(field.getAttribute('aria-invalid')).toBe('true');
  expect(onAnswer).not.toHaveBeenCalled();
  fireEvent.change(field, { target: { value: typed } });
  fireEvent.click(screen.getByText('Send answer'));

  await waitFor(() => expect(onAnswer).toHaveBeenCalledWith(answer, undefined));
});

test('what was wrong is said until the field is mended, and the first of them has the keyboard', async () => {
  const schema = {
    type: 'object',
    required: ['a', 'b'],
    properties: { a: { type: 'string', title: 'A' }, b: { type: 'string', title: 'B' } }
  };
  const refused = new ApiError('no', 422, 'invalid-answer', '', { '/b': 'is required', '/a': 'is required' });
  render(<WaitCard wait={wait({ schema })} trans={trans} onAnswer={vi.fn(() => Promise.reject(refused))} />);

  fireEvent.click(screen.getByText('Send answer'));
  await waitFor(() => expect(screen.getAllByRole('alert')).toHaveLength(2));
  await waitFor(() => expect(document.activeElement).toBe(screen.getByLabelText('A')));
  fireEvent.change(screen.getByLabelText('A'), { target: { value: 'x' } });

  expect(screen.getAllByRole('alert')).toHaveLength(1);
});

const PAIR = { type: 'array', prefixItems: [{ type: 'number' }, { type: 'string' }], minItems: 2, maxItems: 2 };

test.each([
  [{ type: 'object', properties: { at: PAIR, n: { type: 'integer', default: 1 } } }, { n: 1 }],
  [{ $defs: { M: { type: 'object', properties: { at: PAIR } } }, type: 'object', properties: { m: { $ref: '#/$defs/M' } } }, { m: {} }],
  [{ anyOf: [PAIR, { type: 'null' }] }, null]
])('a list of different places that need not be there may be left empty: %j', async (schema, answer) => {
  const onAnswer = vi.fn(async () => undefined);
  render(<WaitCard wait={wait({ schema: schema as any })} trans={trans} onAnswer={onAnswer} />);

  fireEvent.click(screen.getByText('Send answer'));

  await waitFor(() => expect(onAnswer).toHaveBeenCalledWith(answer, undefined));
});

test('what nobody sees is written out where something is approved', () => {
  const show = '--- a\n+++ b\n+if \u202eadmin\u2066:';
  const { container } = render(<WaitCard wait={wait({ question: 'Pay \u202e001$?', show })} trans={trans} onAnswer={vi.fn()} />);

  expect(container.textContent).not.toMatch(/[\u202e\u2066]/);
  expect(screen.getByText('Pay ‹U+202E›001$?')).toBeTruthy();
  expect(container.textContent).toContain('+if ‹U+202E›admin‹U+2066›:');
});

test('a checkpoint that failed says why', async () => {
  const outputs = [{ output_type: 'error', ename: 'ValueError', evalue: '\u001b[31mno\u001b[0m such file', traceback: [] }];
  const server = api({ outputs: async () => ({ checkpoint: 'load', outputs, ended: true }) });
  render(<Timeline api={server} execution="ex" checkpoints={[checkpoint('load', { status: 'failed' })]} trans={trans} />);

  fireEvent.click(screen.getByRole('button', { name: /load/ }));

  expect(await screen.findByText('ValueError: no such file')).toBeTruthy();
});

test('what the server says of a field stands at it', async () => {
  const onAnswer = vi.fn(async () => {
    throw new ApiError('no', 422, 'invalid-answer', '', { '/amount': '40 is too much' });
  });
  render(<WaitCard wait={wait({ schema: REFUND })} trans={trans} onAnswer={onAnswer} />);

  screen.getByText('Send answer').focus();
  fireEvent.click(screen.getByText('Send answer'));

  const said = await screen.findByText('40 is too much');
  expect(screen.getByLabelText('Amount (USD)').getAttribute('aria-describedby')).toContain(said.id);
  expect(document.activeElement).toBe(screen.getByLabelText('Amount (USD)'));
});

test.each([
  [{ type: 'string' }, 'words', 'words'],
  [{ type: 'number' }, '1.5', 1.5],
  [{ enum: ['low', 'high'] }, '1', 'high']
])('an answer of %j is typed in one labelled field', async (schema, typed, answer) => {
  const onAnswer = vi.fn(async () => undefined);
  render(<WaitCard wait={wait({ schema: schema as any })} trans={trans} onAnswer={onAnswer} />);

  fireEvent.change(screen.getByLabelText('Answer'), { target: { value: typed } });
  fireEvent.click(screen.getByText('Send answer'));

  await waitFor(() => expect(onAnswer).toHaveBeenCalledWith(answer, undefined));
});

test('an answered wait says what, by whom and why, and can go on', () => {
  const answered = wait({ status: 'answered', answer: true, answered_by: 'Ana', reason: 'fine' });
  const onGoOn = vi.fn();
  render(<WaitCard wait={answered} trans={trans} onAnswer={vi.fn()} onGoOn={onGoOn} />);

  expect(screen.getByRole('status').textContent).toMatch(/Approved.*Ana.*fine/);
  fireEvent.click(screen.getByText('Run this cell to go on'));
  expect(onGoOn).toHaveBeenCalled();
});

const HOSTILE = ['<img src=x onerror=alert(1)>', '<script>alert(1)</script>', 'javascript:alert(1)', '"><svg onload=alert(1)>'];

test.each(HOSTILE)('%s is only ever text', text => {
  const { container } = render(
    <>
      <WaitCard wait={wait({ question: text, show: text })} trans={trans} onAnswer={vi.fn()} />
      <WaitCard wait={wait({ question: text, show: [{ [text]: text }], schema: { type: 'string', title: text, description: text } })} trans={trans} onAnswer={vi.fn()} />
      <Timeline api={api({})} execution="ex" checkpoints={[checkpoint(text, { reads: [text] })]} trans={trans} />
    </>
  );

  expect(container.querySelector('script, img, svg, a, iframe')).toBeNull();
  expect(container.textContent).toContain(text);
});

test.each(HOSTILE)('a picture is a PNG whatever stands beside it: %s', text => {
  const shows = [
    { 'image/png': 'iVBORw0KGgo=', 'text/plain': text },
    { 'image/png': text, 'text/plain': text },
    { 'image/png': `iVBORw0KGgo=${text}` },
    { 'image/png': 'iVBORw0KGgo=', [text]: text },
    { 'image/svg+xml': 'PHN2Zy8+', 'text/html': text, 'text/plain': text }
  ];
  const { container } = render(<>{shows.map((show, key) => <WaitCard key={key} wait={wait({ show })} trans={trans} onAnswer={vi.fn()} />)}</>);

  const pictures = [...container.querySelectorAll('img')];
  expect(pictures.map(each => each.getAttribute('src'))).toEqual(['data:image/png;base64,iVBORw0KGgo=']);
  expect(pictures[0].alt).toBe(text);
  expect(pictures[0].getAttributeNames().sort()).toEqual(['alt', 'src', 'title']);
  expect(container.querySelector('script, svg, a, iframe')).toBeNull();
  expect(container.textContent).toContain(text);
});

test('of ten thousand rows a few are in the document, and the keyboard reaches the next', async () => {
  render(
    <VirtualList count={10_000} rowHeight={46} label="rows" onEnd={vi.fn()} row={index => <button>{`row ${index}`}</button>} />
  );
  const list = screen.getByRole('list');

  fireEvent.keyDown(list, { key: 'ArrowDown' });

  await waitFor(() => expect(document.activeElement?.textContent).toBe('row 1'));
  expect(within(list).getAllByRole('listitem').length).toBeLessThan(40);
  expect(within(list).getAllByRole('listitem')[0].getAttribute('aria-setsize')).toBe('10000');
});

test('a checkpoint opens to what it stored, and can be replayed', () => {
  const onReplay = vi.fn();
  const artifacts = [{ ref: 'ex/a/x', names: ['x'], digest: 'd', bytes: 3200, codec: 'zarr' }];
  render(
    <Timeline
      api={api({})}
      execution="ex"
      checkpoints={[checkpoint('a', { artifacts }), checkpoint('a', { status: 'restored' })]}
      trans={trans}
      onReplay={onReplay}
    />
  );

  fireEvent.click(screen.getByText('a'));
  expect(screen.getByText('3.2 kB')).toBeTruthy();
  fireEvent.click(screen.getByText('a#2'));
  expect(screen.queryByText('3.2 kB')).toBeNull();
  fireEvent.click(screen.getByText('Replay from here…'));

  expect(onReplay).toHaveBeenCalledWith('a#2');
});

test('a stored table is shown row by row, and what of it is not shown is said', async () => {
  const artifacts = [{ ref: 'ex/a/t', names: ['t'], digest: 'd', bytes: 300, codec: 'pickle5' }];
  const columns = [{ path: 'c0', name: 'town', dtype: 'str' }];
  const found: any = { ref: 'ex/a/t', names: ['t'], kind: 'table', rows: 12, index: '_index', columns };
  const server = api({
    artifact: async () => ({ ...found, left_out: ['“t”: only a part of it can be read'] }),
    slice: async (_, { start }): Promise<any> => ({
      rows: 12,
      start: Number(start),
      stop: Number(start) + 1,
      index: '_index',
      columns: { _index: [Number(start)], c0: [start === '0' ? 'Ulm' : 'Bonn'] }
    })
  });
  const step = checkpoint('a', { artifacts });
  render(<Timeline api={server} execution="ex" checkpoints={[step]} trans={trans} onReplay={vi.fn()} />);
  fireEvent.click(screen.getByText('a'));
  fireEvent.click(screen.getByRole('button', { name: /^t/ }));

  await screen.findByText('Ulm');
  expect(screen.getByText('“t”: only a part of it can be read')).toBeTruthy();
  fireEvent.click(screen.getByText('Later rows'));

  await screen.findByText('Bonn');
  expect(screen.getByText('11 to 12 of 12')).toBeTruthy();
});

test('the log goes on where it had come to, and asks again only for news of its execution', async () => {
  const news = new FakeNews();
  const line = (seq: number, text: string) => ({ seq, at: '2026-03-01T12:00:00Z', kind: 'x', checkpoint: null, stream: null, text });
  const pages: Record<number, any> = {
    0: { lines: [line(1, 'begun')], next: 1, more: true },
    1: { lines: [line(2, 'loaded')], next: 2, more: false },
    2: { lines: [line(3, 'trained')], next: 3, more: false }
  };
  const server = api({ logs: async (_, after) => pages[after ?? 0] });
  render(<Log api={server} news={news} execution="ex_1" trans={trans} />);
  await screen.findByText('loaded');

  news.tell({ executions: ['ex_2'] });
  news.tell({ executions: ['ex_1'] });

  await screen.findByText('trained');
  expect(server.logs).toHaveBeenCalledTimes(3);
  expect(screen.getByRole('log').textContent).toBe('begunloadedtrained');
});

test('a missing server part says how to get it', () => {
  render(<Problem trans={trans} error={new ApiError('404', 404)} />);

  expect(screen.getByRole('alert').textContent).toContain('jupyter server extension enable kitaru_nb');
});

test('a replay is asked for with what was changed, and then compared', async () => {
  const server = api({
    execution: async () => detail(1, [checkpoint('load'), checkpoint('train', { reads: ['lr', 'math'] })]),
    inputs: async () => [{ name: 'lr', type: 'float', literal: '0.25' }],
    replay: async () => ({ execution: 'ex_2' })
  });
  const actions = { open: vi.fn(), compare: vi.fn() };
  const kitaru: any = { api: server, news: new FakeNews(), trans };
  render(<ReplayForm kitaru={kitaru} execution="ex_1" from="train" actions={actions} />);

  const value = await screen.findByLabelText('Value of lr');
  expect(value.getAttribute('placeholder')).toBe('0.25');
  expect(screen.queryByLabelText('Value of math')).toBeNull();
  fireEvent.change(value, { target: { value: '0.5' } });
  fireEvent.click(screen.getByText('Change another name'));
  expect(server.replay).not.toHaveBeenCalled();
  fireEvent.click(screen.getByRole('button', { name: 'Replay' }));
  fireEvent.click(await screen.findByText('Compare with the original'));
  fireEvent.click(screen.getByText('Show it'));

  expect(server.replay).toHaveBeenCalledTimes(1); // to look at it begins no other one
  expect(server.replay).toHaveBeenCalledWith('ex_1', { from: 'train', inputs: { lr: { expr: '0.5' } } });
  expect(actions.compare).toHaveBeenCalledWith('ex_1', 'ex_2');
});

test('a log that could not be read goes on where it was, and no longer says so', async () => {
  const news = new FakeNews();
  const line = { seq: 1, at: '', kind: 'begun', checkpoint: null, stream: null, text: 'it began' };
  const logs = vi
    .fn()
    .mockResolvedValueOnce({ lines: [line], next: 1, more: false })
    .mockRejectedValueOnce(new ApiError('Failed to fetch', 0))
    .mockResolvedValue({ lines: [{ ...line, seq: 2, text: 'it ended' }], next: 2, more: false });
  render(<Log api={api({ logs })} news={news} execution="ex_1" trans={trans} />);
  await screen.findByText('it began');
  act(() => news.tell({ all: true }));
  await screen.findByRole('alert');
  expect(screen.getByText('it began')).toBeTruthy();

  act(() => news.tell({ all: true }));

  await screen.findByText('it ended');
  expect(screen.queryByRole('alert')).toBeNull();
  expect(logs).toHaveBeenLastCalledWith('ex_1', 1);
});

test.each([
  [new ApiError('Failed to fetch', 0), 'See that the server runs and can be reached, then try again.'],
  [new ApiError('403 Forbidden', 403), 'Reload the page and log in again.'],
  [new ApiError('500 Internal Server Error', 500), 'the log of the Jupyter server says why'],
  [new ApiError('no such step', 404, 'unknown-checkpoint', 'kitaru-nb show ex_1'), 'kitaru-nb show ex_1']
])('%s comes with what to do', (error, advice) => {
  render(<Problem trans={trans} error={error} />);

  expect(screen.getByRole('alert').textContent).toContain(advice);
  expect(wordsOf(error, trans)).toContain(advice);
});

test('an answer that does not reach the server says what to do', async () => {
  const onAnswer = () => Promise.reject(new ApiError('Failed to fetch', 0));
  render(<WaitCard wait={wait()} trans={trans} onAnswer={onAnswer} />);

  fireEvent.click(screen.getByText('Approve'));

  expect((await screen.findByRole('alert')).textContent).toContain('then try again');
});

test('a row is called by its notebook, and among those of one notebook by when it began', () => {
  const row = (isNamed: boolean) => (
    <ExecutionRow execution={execution(1)} focused isNamed={isNamed} moment={0} trans={trans} onOpen={() => undefined} />
  );
  const { container, rerender } = render(row(true));
  const title = () => container.querySelector('.jp-kitaru-Row-title')!.textContent;

  expect(title()).toBe('report.ipynb');
  rerender(row(false));

  expect(title()).toBe(day(execution(1).started_at));
  expect(screen.getByRole('button', { name: /^report.ipynb .*completed · 1 min 00 s/ })).toBeTruthy();
});

const row = (more: object) =>
  render(
    <ExecutionRow execution={execution(1, { ...more })} focused isNamed moment={0} trans={trans} onOpen={() => undefined} />
  );

test('an execution that runs shows how far it is, in words and as a bar beside its button', () => {
  const { getByRole } = row({ status: 'running', progress: { done: 12, total: 40 } });

  const bar = getByRole('progressbar', { name: 'Progress of report.ipynb' });
  expect(['aria-valuemin', 'aria-valuemax', 'aria-valuenow', 'aria-valuetext'].map(name => bar.getAttribute(name))).toEqual([
    '0',
    '40',
    '12',
    '12 of 40'
  ]);
  expect((bar.firstChild as HTMLElement).style.width).toBe('30%');
  expect(getByRole('button').getAttribute('aria-label')).toContain('running · 12 of 40');
  expect(getByRole('button').contains(bar)).toBe(false);
});

test.each([
  [{ done: 12, total: null }, 'running · 12 steps'],
  [{ done: 1, total: null }, 'running · 1 step'],
  [{ done: 0, total: null }, 'running'],
  [undefined, 'running']
])('of %j, of which nobody knows how many there are, only what is done is told', (progress, words) => {
  const { container, queryByRole } = row({ status: 'running', duration: 3, progress });

  expect(container.querySelector('.jp-kitaru-Row-more')?.textContent).toBe(`${words} · 3.0 s`);
  expect(queryByRole('progressbar')).toBeNull();
});

test('the card of one that runs shows the same', () => {
  const given = detail(1, [], { status: 'running', progress: { done: 12, total: 40 } });
  const nothing = () => undefined;
  const { container, getByRole } = render(
    <Detail
      api={api({})}
      news={new FakeNews()}
      execution={given}
      trans={trans}
      onOpenExecution={nothing}
      onReplay={nothing}
      onCompare={nothing}
    />
  );

  expect(getByRole('progressbar', { name: 'Progress' }).getAttribute('aria-valuenow')).toBe('12');
  expect(container.querySelector('.jp-kitaru-Detail-progress')?.textContent).toBe('12 of 40');
});
