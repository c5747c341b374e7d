import { Notification } from '@jupyterlab/apputils';
import { NotebookActions } from '@jupyterlab/notebook';
import { Signal } from '@lumino/signaling';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { IWait } from '../api';
import { MIME } from '../waits/renderer';
import { GoOn } from '../waits/goon';
import { WaitsModel } from '../waits/model';
import { Queue } from '../waits/queue';
import { FakeNews, api, storage, trans, wait } from './fakes';

// The real ones bring all of JupyterLab along.
vi.mock('@jupyterlab/cells', () => ({ isCodeCellModel: (model: { type: string }) => model.type === 'code' }));
vi.mock('@jupyterlab/notebook', async () => {
  const { Signal } = await import('@lumino/signaling');
  return { NotebookActions: { executionScheduled: new Signal({}), executed: new Signal({}), runCells: vi.fn() } };
});

const ADDRESS = 'ex_1/publish';
const answered = wait({ status: 'answered', answer: true, answered_at: '2026-03-01T12:05:00Z' });
const settled = () => vi.advanceTimersByTimeAsync(0);

/** A kernel that answers what is asked beside its cells, as `kitaru_nb.notebook.extension` does. */
class FakeKernel {
  standing = "'waits'";
  aborts = 0;
  resumes = true;
  readonly turns = new Map<string, string>();

  requestExecute({ code, user_expressions }: { code: string; user_expressions?: { kitaru: string } }): unknown {
    if (this.aborts > 0) {
      this.aborts--;
      return { done: Promise.resolve({ content: { status: 'aborted' } }) };
    }
    const content = user_expressions
      ? { status: 'ok', user_expressions: { kitaru: { data: { 'text/plain': this.evaluate(user_expressions.kitaru) } } } }
      : { status: this.resumes || !code.startsWith('%resume') ? 'ok' : 'error' };
    return { done: Promise.resolve({ content }) };
  }

  private evaluate(expression: string): string {
    const turn = /setdefault\(('[^']*'), ('[^']*')\) == \2$/.exec(expression);
    if (!turn) {
      return this.standing;
    }
    this.turns.set(turn[1], this.turns.get(turn[1]) ?? turn[2]);
    return this.turns.get(turn[1]) === turn[2] ? 'True' : 'False';
  }
}

const ran = vi.mocked(NotebookActions.runCells);
const executed = NotebookActions.executed as unknown as Signal<unknown, unknown>;
let now: IWait;

beforeEach(() => {
  vi.useFakeTimers();
  ran.mockReset().mockResolvedValue(true);
  now = wait();
});

afterEach(() => {
  Signal.clearData(executed);
  Notification.manager.dismiss();
});

/** A page that shows the notebook in which `a` waits. */
function page(kernel: FakeKernel, kept = storage()) {
  const outputs = { length: 1, get: () => ({ data: { [MIME]: { address: ADDRESS } } }) };
  const cells = ['a', 'b', 'c'].map(id => ({
    model: { id, type: 'code', executionState: 'idle', outputs: id === 'a' ? outputs : { length: 0 } }
  }));
  const content = { id: 'n', widgets: cells };
  const sessionContext = { ready: Promise.resolve(), hasNoKernel: false, session: { kernel } };
  const panel = { content, sessionContext };
  const tracker = { find: (fits: (each: unknown) => boolean) => (fits(panel) ? panel : undefined) };
  const news = new FakeNews();
  const server = api({ wait: async () => now, waits: async () => [], answer: async () => (now = answered) });
  const waits = new WaitsModel(server, news);
  const queue = new Queue(kept);
  const settings = { runOnAnswer: true };
  const goOn = new GoOn({ api: server, news, waits, trans, settings } as any, tracker as any, queue);
  /** The cell that waits comes to its end, as one that waits does. */
  const suspends = () => executed.emit({ notebook: content, cell: cells[0], success: false, error: { errorName: 'Suspended' } });
  return { news, waits, queue, goOn, kept, settings, suspends, cells, ids: () => ran.mock.calls.map(([, each]) => each.map(cell => cell.model.id)) };
}

/** One that has run the cells. */
async function ranThem(kernel: FakeKernel) {
  const tab = page(kernel);
  ['a', 'b', 'c'].forEach(cell => tab.queue.scheduled('n', cell));
  tab.queue.ended('n', 'a', ADDRESS);
  ['b', 'c'].forEach(cell => tab.queue.ended('n', cell, null));
  await tab.waits.look(ADDRESS);
  return tab;
}

test('an answer from elsewhere runs the cell that waited and those behind it', async () => {
  const tab = await ranThem(new FakeKernel());

  now = answered;
  tab.news.tell({ waits: [ADDRESS] });
  await settled();

  expect(tab.ids()).toEqual([['a', 'b', 'c']]);
  expect(tab.queue.held(ADDRESS)).toBeNull();
});

test('of a tab and its double one runs them', async () => {
  const kernel = new FakeKernel();
  const tab = await ranThem(kernel);
  const double = page(kernel, storage(tab.kept.entries()));
  await double.waits.look(ADDRESS);

  now = answered;
  [tab, double].forEach(each => each.news.tell({ waits: [ADDRESS] }));
  await vi.advanceTimersByTimeAsync(5000);

  expect(tab.ids()).toEqual([['a', 'b', 'c']]);
  expect([tab, double].map(each => each.queue.held(ADDRESS))).toEqual([null, null]);
});

test('a tab that has not run them goes on with its answer where nobody else does', async () => {
  const tab = page(new FakeKernel());
  await tab.waits.look(ADDRESS);

  await tab.waits.answer(now, true);
  await vi.advanceTimersByTimeAsync(5000);

  expect(tab.ids()).toEqual([['a']]);
});

test('a question of the kernel that is thrown away with the queue is asked again', async () => {
  const kernel = new FakeKernel();
  const tab = await ranThem(kernel);
  kernel.aborts = 2;
  kernel.resumes = false; // nothing is to be put back in a kernel that waits

  now = answered;
  tab.news.tell({ waits: [ADDRESS] });
  await settled();

  expect(tab.ids()).toEqual([['a', 'b', 'c']]);
});

test('where the kernel cannot be made ready all of them are still there for the button', async () => {
  const kernel = new FakeKernel();
  const tab = await ranThem(kernel);
  [kernel.standing, kernel.resumes] = ["'new'", false];
  now = answered;
  tab.news.tell({ waits: [ADDRESS] });
  await settled();
  expect(tab.ids()).toEqual([]);

  kernel.standing = "'waits'";
  tab.goOn.offer(ADDRESS)?.();
  await settled();

  expect(tab.ids()).toEqual([['a', 'b', 'c']]);
});

test('a cell that suspends on an answer again is not run without end', async () => {
  const tab = await ranThem(new FakeKernel());
  now = answered;
  tab.news.tell({ waits: [ADDRESS] });
  await settled();

  tab.suspends();
  await vi.advanceTimersByTimeAsync(5000);

  expect(tab.ids()).toHaveLength(1);
});

test('an answer that comes between the question and the end of its cell counts', async () => {
  const tab = page(new FakeKernel());
  await tab.waits.look(ADDRESS);
  now = answered;
  await tab.waits.look(ADDRESS);
  await settled();
  expect(tab.ids()).toEqual([]); // the cell had not ended yet, so nothing was held

  ['a', 'b'].forEach(cell => tab.queue.scheduled('n', cell));
  tab.suspends();
  await settled();

  expect(tab.ids()).toEqual([['a', 'b']]);
});

test('a cell that holds on is not run again', async () => {
  const tab = await ranThem(new FakeKernel());
  tab.cells[0].model.executionState = 'running';

  now = answered;
  tab.news.tell({ waits: [ADDRESS] });
  await vi.advanceTimersByTimeAsync(5000);

  expect(tab.ids()).toEqual([]);
  expect(tab.goOn.offer(ADDRESS)).toBeUndefined();
});

test('a tab that has not run them lets be what has gone on', async () => {
  const kernel = new FakeKernel();
  kernel.standing = "'went on'";
  const tab = page(kernel);
  await tab.waits.look(ADDRESS);

  await tab.waits.answer(now, true);
  await vi.advanceTimersByTimeAsync(5000);

  expect(tab.ids()).toEqual([]);
});

test('switched off, nothing runs by itself, and the button runs all of them', async () => {
  const tab = await ranThem(new FakeKernel());
  tab.settings.runOnAnswer = false;
  now = answered;
  tab.news.tell({ waits: [ADDRESS] });
  await vi.advanceTimersByTimeAsync(5000);
  expect(tab.ids()).toEqual([]);

  const press = tab.goOn.offer(ADDRESS)!;
  press();
  press(); // impatiently
  await settled();

  expect(tab.ids()).toEqual([['a', 'b', 'c']]);
});

test('what keeps the cells from running is said', async () => {
  const tab = await ranThem(new FakeKernel());
  ran.mockRejectedValue(new Error('the kernel died'));

  now = answered;
  tab.news.tell({ waits: [ADDRESS] });
  await settled();

  expect(Notification.manager.notifications.map(each => each.message)).toEqual([
    'The answer is on record, but the cell did not run: the kernel died. Run it to go on.'
  ]);
});

test('a page that is gone runs nothing any more', async () => {
  const tab = page(new FakeKernel());
  await tab.waits.look(ADDRESS);
  await tab.waits.answer(now, true);

  tab.goOn.dispose();
  await vi.advanceTimersByTimeAsync(5000);

  expect(tab.ids()).toEqual([]);
});
