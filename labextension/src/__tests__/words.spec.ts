import { expect, test } from 'vitest';
import { wordsOfAnswer } from '../executions/detail';
import { age, ago, clock, cost, day, duration, joined, saving, size, span, uncoloured, visible } from '../format';
import { ApiError, IExecutionQuery } from '../api';
import { servedPath, servedPaths } from '../paths';
import { api, execution, trans } from './fakes';

test.each([
  [null, ''],
  [0.012, '12 ms'],
  [0.8, '0.8 s'],
  [12.4, '12 s'],
  [192, '3 min 12 s'],
  [7500, '2 h 05 min'],
  [NaN, '']
])('a duration of %s is %s', (seconds, words) => {
  expect(duration(seconds)).toBe(words);
});

test.each([
  [null, ''],
  [0, ''],
  [0.00412, '$0.0041'],
  [1.2, '$1.20']
])('a cost of %s is "%s": what is not known is never $0', (dollars, words) => {
  expect(cost(dollars)).toBe(words);
});

test('what began today is called by its time, and before that by its day', () => {
  const now = new Date(2026, 2, 5, 12);

  expect(day(new Date(2026, 2, 5, 9, 7, 1).toISOString(), now)).toMatch(/^0?9.07.01/);
  expect(day(new Date(2026, 2, 4, 9, 7).toISOString(), now)).toMatch(/4.*, 0?9.07/);
  expect(day(new Date(2025, 2, 4, 9, 7).toISOString(), now)).toContain('2025');
  expect(day('never', now)).toBe('');
});

test.each([
  ['yes', 'yes'],
  [{ amount: 25, mail: true }, 'amount 25, mail true'],
  [{ amount: { net: 25 } }, '{"amount":{"net":25}}'],
  [[1, 2], '[1,2]'],
  [null, 'null'],
  [{}, '{}']
])('of the answer %j a line says %s', (answer, words) => {
  expect(wordsOfAnswer(answer)).toBe(words);
});

test('a saving too small to notice is not told', () => {
  expect(saving(0.02, null)).toBe('');
  expect(saving(12, 0.4)).toBe('12 s · $0.40');
});

test('sizes and ages are in one unit', () => {
  const now = Date.parse('2026-03-03T12:00:00Z');
  expect([size(52), size(3200), size(1.5e9), size(null)]).toEqual(['52 B', '3.2 kB', '1.5 GB', '']);
  expect(age('2026-03-01T12:00:00Z', trans, now)).toBe('2 days');
  expect(age('2026-03-03T11:59:30Z', trans, now)).toBe('30 s');
  expect(age('nonsense', trans, now)).toBe('');
});

test('parts that say nothing leave no dot behind', () => {
  expect(joined('a', '', null, false, 'b')).toBe('a · b');
});

test.each([
  ['/srv/work/a/b.ipynb', '/srv/work', ['a/b.ipynb']],
  ['/srv/other/b.ipynb', '/srv/work', []],
  ['/srv/workshop/b.ipynb', '/srv/work', []],
  ['/home/ana/work/b.ipynb', '~/work', ['b.ipynb']],
  ['/Users/ana/work.d/b.ipynb', '~/work.d', ['b.ipynb']],
  ['/home/ana/else/b.ipynb', '~/work', []],
  ['/home/ana/work/work/b.ipynb', '~/work', ['work/b.ipynb', 'b.ipynb']],
  ['/home/ana/b.ipynb', '~', ['b.ipynb', 'ana/b.ipynb']],
  ['/data/b.ipynb', '~', ['b.ipynb']],
  ['/home/ana/work/b.ipynb', '~', ['work/b.ipynb', 'ana/work/b.ipynb', 'b.ipynb']],
  ['/srv/~/b.ipynb', '/srv/~', ['b.ipynb']],
  [null, '/srv', []]
])('%s below %s may be %j', (path, root, served) => {
  expect(servedPaths(path, root)).toEqual(served);
});

test('where the home folder is, the server knows', async () => {
  const found = execution(1, { notebook: '/data/people/ana/work/b.ipynb' });
  const executions = async ({ notebook }: IExecutionQuery) => {
    if (notebook?.startsWith('ana/')) {
      throw new ApiError('no such folder', 404);
    }
    return { executions: notebook === 'work/b.ipynb' ? [found] : [], more: false };
  };

  expect(await servedPath(api({ executions }), found, '~')).toBe('work/b.ipynb');
  expect(await servedPath(api({ executions }), execution(2, { notebook: '/opt/b.ipynb' }), '~')).toBeNull();
});

test('what has just happened is just now, and a moment that stays on the page is a time or a day', () => {
  const now = Date.parse('2026-03-03T12:00:00');

  expect([ago('2026-03-03T11:59:58', trans, now), ago('2026-03-03T11:58:00', trans, now), ago(null, trans)]).toEqual([
    'just now',
    '2 min ago',
    ''
  ]);
  expect(clock('2026-03-03T09:05:00', new Date(now))).toMatch(/0?9.05/);
  expect(clock('2026-03-01T09:05:00', new Date(now))).toContain('2026');
});

test.each([
  ['Pay \u202e001$ yap\u202c', 'Pay ‹U+202E›001$ yap‹U+202C›'],
  ['ad\u200bmin\u00ad\u2066', 'ad‹U+200B›min‹U+00AD›‹U+2066›'],
  ['do\u{e0041}\u{e0042}', 'do‹U+E0041›‹U+E0042›'],
  ['\u001b[31mred', '‹U+001B›[31mred'],
  ['tab\there\r\nline', 'tab\there\r\nline'],
  ['שלום \u200f(1)', 'שלום \u200f(1)'],
  ['می\u200cخواهم 👩\u200d🔬 ❤\ufe0f', 'می\u200cخواهم 👩\u200d🔬 ❤\ufe0f'],
  ['🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}', '🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}'],
  ['half \ud800', 'half \ud800']
])('what nobody sees in %j is written out, what scripts need is not', (text, shown) => {
  expect(visible(text)).toBe(shown);
});

test('colours and links of a terminal are left out', () => {
  const link = '\u001b]8;;http://evil.example\u0007here\u001b]8;;\u0007';

  expect(uncoloured(`\u001b[38;5;28;01mraise\u001b[39m ${link}`)).toBe('raise here');
});

test('a long time is told in days', () => {
  expect([90, 7500, 86400 * 2.5, 86400 * 300].map(seconds => span(seconds, trans))).toEqual(['1 min 30 s', '2 h 05 min', '2 days', '300 days']);
});
