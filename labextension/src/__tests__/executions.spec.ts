import { expect, test, vi } from 'vitest';
import type { IExecution, IExecutionQuery } from '../api';
import { numbersOf, refOf, tableOf, viewsOf } from '../executions/artifact';
import { ExecutionsModel } from '../executions/model';
import { bars, line, number } from '../executions/plot';
import { lengthOf } from '../executions/row';
import { titleOf } from '../format';
import { labelsOf } from '../executions/timeline';
import { windowOf } from '../executions/virtual';
import { FakeNews, api, detail, execution } from './fakes';

/** Pages of `all`, newest first, as the server gives them. */
function paged(all: () => IExecution[]) {
  return async (query: IExecutionQuery) => {
    const known = all();
    const start = query.before ? known.findIndex(each => each.id === query.before) + 1 : 0;
    const end = start + (query.limit ?? 50);
    return { executions: known.slice(start, end), more: end < known.length };
  };
}

const newest = (count: number) => Array.from({ length: count }, (_, index) => execution(count - index));

test('nothing is asked before anybody looks', async () => {
  const server = api({ executions: paged(() => []) });
  const news = new FakeNews();
  const model = new ExecutionsModel(server, news);

  news.tell({ executions: ['ex_1'] });
  model.setNotebook('a.ipynb');

  expect(server.executions).toHaveBeenCalledTimes(0);
  expect(model.list).toEqual([]);
});

test('ten thousand are read page by page', async () => {
  const server = api({ executions: paged(() => newest(10_000)) });
  const model = new ExecutionsModel(server, new FakeNews());
  model.setFilter({ scope: 'all' });
  await model.open();

  await model.loadMore();
  await model.loadMore();

  expect(model.list).toHaveLength(300);
  expect(new Set(model.list.map(each => each.id)).size).toBe(300);
  expect(model.more).toBe(true);
});

test('without a notebook in front nothing of a notebook is asked', async () => {
  const server = api({ executions: paged(() => newest(3)) });
  const model = new ExecutionsModel(server, new FakeNews());

  await model.open();

  expect(server.executions).toHaveBeenCalledTimes(0);
});

test('the filter is what is asked for', async () => {
  const server = api({ executions: paged(() => []) });
  const model = new ExecutionsModel(server, new FakeNews());
  model.setNotebook('a/b.ipynb');
  model.setFilter({ status: 'failed', text: 'tag:nightly report' });

  await model.open();

  expect(server.executions).toHaveBeenLastCalledWith({
    limit: 100,
    notebook: 'a/b.ipynb',
    status: 'failed',
    tag: 'nightly',
    q: 'report'
  });
});

test('news adds what is new, renews what has changed, and keeps what was read', async () => {
  vi.useFakeTimers();
  let all = newest(250);
  const server = api({
    executions: paged(() => all),
    execution: async id => detail(Number(id.slice(3)), [], { status: 'failed' })
  });
  const news = new FakeNews();
  const model = new ExecutionsModel(server, news);
  model.setFilter({ scope: 'all' });
  await model.open();
  await model.loadMore();
  const old = model.list[150].id;

  all = [execution(251, { status: 'running' }), ...all];
  news.tell({ executions: ['ex_000251', old] });
  await vi.advanceTimersByTimeAsync(1000);

  expect(model.list).toHaveLength(201);
  expect(model.list[0].status).toBe('running');
  expect(model.list.find(each => each.id === old)?.status).toBe('failed');
});

test('however fast the news comes, it is looked at in turns', async () => {
  vi.useFakeTimers();
  const server = api({ executions: paged(() => newest(3)) });
  const news = new FakeNews();
  const model = new ExecutionsModel(server, news);
  model.setFilter({ scope: 'all' });
  await model.open();
  await vi.advanceTimersByTimeAsync(500);
  const before = (server.executions as any).mock.calls.length;

  for (let step = 0; step < 100; step++) {
    news.tell({ executions: ['ex_000003'] });
    await vi.advanceTimersByTimeAsync(10);
  }

  expect((server.executions as any).mock.calls.length - before).toBeLessThanOrEqual(3);
});

test('an answer that comes late does not replace what was asked for since', async () => {
  let release: (page: any) => void = () => undefined;
  const executions = vi
    .fn()
    .mockImplementationOnce(() => new Promise(resolve => (release = resolve)))
    .mockResolvedValue({ executions: [execution(2)], more: false });
  const model = new ExecutionsModel(api({ executions }), new FakeNews());
  model.setFilter({ scope: 'all' });
  const first = model.open();
  await model.refresh();

  release({ executions: [execution(1)], more: true });
  await first;

  expect(model.list.map(each => each.id)).toEqual(['ex_000002']);
});

/** A list of two pages, and a look at one of its older executions that is under way. */
async function looking() {
  vi.useFakeTimers();
  let release: (found: any) => void = () => undefined;
  const failed = { executions: [execution(7, { status: 'failed' })], more: false };
  const all = paged(() => newest(250));
  const server = api({
    executions: async query => (query.status === 'failed' ? failed : all(query)),
    execution: () => new Promise(resolve => (release = resolve))
  });
  const news = new FakeNews();
  const model = new ExecutionsModel(server, news);
  model.setFilter({ scope: 'all' });
  await model.open();
  await model.loadMore();
  const old = model.list[150];
  news.tell({ executions: [old.id] });
  await vi.advanceTimersByTimeAsync(500);
  return { model, news, server, release: () => release({ ...old, status: 'failed' }) };
}

test('what was looked at for one filter does not come into the list of another', async () => {
  const { model, release } = await looking();
  model.setFilter({ status: 'failed' });
  await vi.advanceTimersByTimeAsync(10);

  release();
  await vi.advanceTimersByTimeAsync(10);

  expect(model.list.map(each => each.id)).toEqual(['ex_000007']);
});

test('a page that comes while older ones are looked at stays', async () => {
  const { model, release } = await looking();
  await model.loadMore();

  release();
  await vi.advanceTimersByTimeAsync(10);

  expect(model.list).toHaveLength(250);
  expect(model.list[150].status).toBe('failed');
});

test('news that comes while another filter is typed does not mix two lists', async () => {
  const { model, news, release } = await looking();
  release();
  await vi.advanceTimersByTimeAsync(500);

  news.tell({ executions: ['ex_000250'] });
  await vi.advanceTimersByTimeAsync(390);
  model.setFilter({ text: 'x', status: 'failed' });
  await vi.advanceTimersByTimeAsync(100);

  expect(model.list).toHaveLength(200);
});

test('of two looks at one execution the later one counts', async () => {
  const releases: ((found: any) => void)[] = [];
  const model = new ExecutionsModel(
    api({ execution: () => new Promise(resolve => releases.push(resolve)) }),
    new FakeNews()
  );
  const first = model.select('ex_000001');
  const second = model.select('ex_000001');

  releases[1](detail(1, [], { status: 'completed' }));
  releases[0](detail(1, [], { status: 'running' }));
  await Promise.all([first, second]);

  expect(model.detail?.status).toBe('completed');
});

test('only rows near what is in view are drawn', () => {
  const [first, last] = windowOf(46 * 5000, 460, 46, 10_000);

  expect(last - first).toBeLessThan(30);
  expect(first).toBeLessThanOrEqual(5000);
  expect(last).toBeGreaterThanOrEqual(5010);
  expect(windowOf(0, 460, 46, 3)).toEqual([0, 3]);
  expect(windowOf(99_999, 460, 46, 3)).toEqual([3, 3]);
});

test('the second checkpoint of a name is typed with its number', () => {
  expect(labelsOf([{ name: 'a' }, { name: 'b' }, { name: 'a' }])).toEqual(['a', 'b', 'a#2']);
});

test('each name of an artifact has a reference of its own', () => {
  const artifact = { ref: 'ex_1/load/x', names: ['x', 'y'], digest: 'd', bytes: 1, codec: null };

  expect(artifact.names.map(name => refOf(artifact, name))).toEqual(['ex_1/load/x', 'ex_1/load/y']);
});

test.each([
  [[200, 200], 'float64', ['png', 'statistics']],
  [[64, 64, 3], 'uint8', ['png']],
  [[400], 'int64', ['line', 'statistics']],
  [[4, 5, 6], 'float32', ['statistics']],
  [[], 'float64', ['values']],
  [[1], 'float64', ['values']],
  [[9], 'string', ['values']]
])('an array of shape %j and %s is looked at as %j', (shape, dtype, views) => {
  expect(viewsOf(shape, dtype)).toEqual(views);
});

test('columns are turned into rows, under the names that people know', () => {
  const rows = { rows: 9, start: 0, stop: 2, index: 'i', columns: { i: [0, 1], c0: ['a', null] } };

  expect(tableOf(rows, { columns: [{ path: 'c0', name: 'City', dtype: 'str' }] })).toEqual({
    columns: ['', 'City'],
    rows: [
      [0, 'a'],
      [1, null]
    ]
  });
});

test('columns of one name, of numbers and of none stay apart and in their order', () => {
  const columns = { '10': [1], '2': [2], member_2: [3], member_3: [4], _index: ['r1'] };
  const rows = { rows: 1, start: 0, stop: 1, index: '_index', columns };
  const named = [
    { path: '10', name: '10', dtype: 'int64' },
    { path: '2', name: '2', dtype: 'int64' },
    { path: 'member_2', name: '2', dtype: 'int64' },
    { path: 'member_3', name: '', dtype: 'int64' }
  ];

  expect(tableOf(rows, { columns: named })).toEqual({ columns: ['', '10', '2', '2', ''], rows: [['r1', 1, 2, 3, 4]] });
});

test('large numbers and truth values are points of a line, too', () => {
  const values = ['9007199254740993', 'nan', true, 2];

  expect(numbersOf({ shape: [4], values, whole: true })).toEqual([9007199254740992, NaN, 1, 2]);
});

test('a plot leaves a gap where there is no number', () => {
  expect(line([0, 1, 'nan', 1], 30, 10)).toBe('M0 8L10 2M30 2');
  expect(bars([1, 2], 20, 10)).toEqual([
    { x: 0.5, y: 5, width: 9, height: 5 },
    { x: 10.5, y: 0, width: 9, height: 10 }
  ]);
  expect([1.23456789, null, 123457, 123456.78, 0.000012345678, 1.5e20, '9007199254740993'].map(number)).toEqual([
    '1.2346',
    '–',
    '123457',
    '123456.8',
    '0.000012346',
    '1.5000e+20',
    '9007199254740993'
  ]);
});

test('an execution is called by its notebook or flow, and one that runs is as long as it has run', () => {
  const start = Date.parse('2026-03-01T12:00:00Z');

  expect(titleOf(execution(1))).toBe('report.ipynb');
  expect(titleOf(execution(1, { notebook: null, flow: 'agents.daily:main' }))).toBe('main');
  expect(lengthOf(execution(1, { status: 'running', duration: null }), start + 5000)).toBe(5);
});
