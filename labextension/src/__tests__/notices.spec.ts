import { Notification } from '@jupyterlab/apputils';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { IWait } from '../api';
import { isInSight } from '../notebooks';
import { MIME } from '../waits/renderer';
import { WaitsModel } from '../waits/model';
import { Notices, reminderAt } from '../waits/notices';
import { FakeNews, api, trans, wait } from './fakes';

// The real ones bring all of JupyterLab along.
vi.mock('@jupyterlab/cells', () => ({ isCodeCellModel: () => true }));

const NOON = Date.parse('2026-03-01T12:00:00Z');
const old = wait({ address: 'ex_0/old', question: 'Old?' });
let now: IWait[];
let open: { dispose(): void }[];

beforeEach(() => {
  vi.useFakeTimers({ now: NOON });
  now = [old];
  open = [];
});

afterEach(() => {
  open.forEach(each => each.dispose());
  Notification.manager.dismiss();
});

const said = () => Notification.manager.notifications.map(each => each.message).reverse();

/** A page on which one question waits already. */
async function page({ seen = false, notices = true, first = async (): Promise<IWait[] | undefined> => undefined } = {}) {
  const news = new FakeNews();
  const server = api({ waits: async () => (await first()) ?? now, wait: async address => now.find(each => each.address === address) ?? wait({ address, status: 'answered' }) });
  const waits = new WaitsModel(server, news);
  const settings = { notices };
  const parts = { isSeen: vi.fn(() => seen), show: vi.fn() };
  open.push(new Notices({ waits, settings, trans } as any, parts), waits);
  await waits.open();
  const come = async (...all: IWait[]) => {
    now = all;
    news.tell({ waits: all.map(each => each.address) });
    await vi.advanceTimersByTimeAsync(2000);
  };
  return { waits, news, parts, come, settings };
}

test('a question that comes up out of sight is told once, and leads to it', async () => {
  const { come, parts } = await page();
  await come(old, wait());
  await come(old, wait());

  expect(said()).toEqual(['“Publish?” waits for an answer.']);
  const [{ options }] = Notification.manager.notifications;
  options.actions?.[0].callback({} as MouseEvent);
  expect(options.actions?.[0].label).toBe('Show');
  expect(parts.show).toHaveBeenCalledWith(wait());
});

test('what waited before the page was opened is no news', async () => {
  const { come } = await page();
  await come(old);

  expect(said()).toEqual([]);
});

test('a question that is in sight, or is answered at once, is not told', async () => {
  const seen = await page({ seen: true });
  await seen.come(old, wait());
  expect(said()).toEqual([]);

  const { news } = await page();
  now = [old, wait({ address: 'ex_1/fast' })];
  news.tell({ waits: ['ex_1/fast'] });
  await vi.advanceTimersByTimeAsync(100);
  now = [old];
  news.tell({ waits: ['ex_1/fast'] });
  await vi.advanceTimersByTimeAsync(5000);
  expect(said()).toEqual([]);
});

test('what is told goes away with the answer', async () => {
  const { come } = await page();
  await come(old, wait());
  expect(said()).toHaveLength(1);

  await come(old);

  expect(said()).toEqual([]);
});

test('it is reminded once when a fifth of the time is left, also of one that is in sight', async () => {
  const { come } = await page({ seen: true });
  await come(old, wait({ deadline: '2026-03-01T12:10:00Z' }));

  await vi.advanceTimersByTimeAsync(8 * 60_000 - 2001);
  expect(said()).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(said()).toEqual(['“Publish?” waits for an answer for 2 min 00 s more.']);
  await vi.advanceTimersByTimeAsync(60_000);
  await come(old, wait({ deadline: '2026-03-01T12:10:00Z' }));
  expect(said()).toHaveLength(1);
});

test('a deadline in weeks is not reminded of today', async () => {
  const { come } = await page({ seen: true });
  await come(wait({ deadline: '2026-06-01T12:00:00Z' }));

  await vi.advanceTimersByTimeAsync(24 * 3_600_000);
  expect(said()).toEqual([]);
});

test('one that is nearly over when the page is opened is reminded of, one that is over is not', async () => {
  now = [
    wait({ address: 'ex_1/a', question: 'Late?', asked_at: '2026-03-01T11:00:00Z', deadline: '2026-03-01T12:01:00Z' }),
    wait({ address: 'ex_1/b', asked_at: '2026-03-01T11:00:00Z', deadline: '2026-03-01T11:59:00Z' })
  ];
  await page();

  expect(said()).toEqual(['“Late?” waits for an answer for 1 min 00 s more.']);
});

test('switched off, nothing is told, and later only what comes later', async () => {
  const { come, settings } = await page({ notices: false });
  await come(old, wait());
  expect(said()).toEqual([]);

  settings.notices = true;
  await come(old, wait(), wait({ address: 'ex_2/next', question: 'Next?' }));
  expect(said()).toEqual(['“Next?” waits for an answer.']);
});

test('where the first look fails, what waits then is still no news', async () => {
  const fails = vi.fn().mockRejectedValueOnce(new Error('down'));
  const { come } = await page({ first: fails });
  await come(old);

  expect(said()).toEqual([]);
});

test('a page that is gone tells nothing', async () => {
  const { come, news } = await page();
  await come(old);
  now = [old, wait(), wait({ address: 'ex_1/soon', deadline: '2026-03-01T12:10:00Z' })];
  news.tell({ waits: ['ex_1/publish', 'ex_1/soon'] });
  await vi.advanceTimersByTimeAsync(100);

  open.forEach(each => each.dispose());
  await vi.advanceTimersByTimeAsync(3_600_000);

  expect(said()).toEqual([]);
});

test('a long question is cut, and what it holds is only ever text', async () => {
  const { come } = await page();
  await come(wait({ question: `<img src=x onerror=alert(1)>\n${'x'.repeat(500)}` }));

  expect(said()[0].length).toBeLessThan(140);
  expect(said()[0]).toContain('<img src=x onerror=alert(1)> xxx');
});

test.each([
  ['2026-03-01T12:10:00Z', NOON + 8 * 60_000],
  ['2026-03-01T11:00:00Z', null],
  [null, null]
])('of a deadline at %s it is reminded at %s', (deadline, at) => {
  expect(reminderAt(wait({ deadline }))).toBe(at);
});

test.each([
  ['its cell', true, true, true],
  ['its cell', false, true, false],
  ['its execution', true, true, true],
  ['its execution', false, true, false],
  ['its cell', true, false, false],
  ['nothing of it', true, true, false]
])('a page with %s, its tab in front: %s, itself in front: %s, shows the question: %s', (what, tab, front, expected) => {
  vi.spyOn(document, 'visibilityState', 'get').mockReturnValue(front ? 'visible' : 'hidden');
  const address = what === 'its cell' ? 'ex_1/publish' : 'ex_1/other';
  const outputs = { length: 1, get: () => ({ data: { [MIME]: { address } } }) };
  const panel = { isVisible: tab, content: { widgets: [{ model: { outputs } }] } };
  const tracker = { find: (fits: (each: unknown) => boolean) => (fits(panel) ? panel : undefined) };

  expect(isInSight(tracker as any, wait(), () => (what === 'its execution' ? 'ex_1' : 'ex_9'))).toBe(expected);
  vi.restoreAllMocks();
});
