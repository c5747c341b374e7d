import { NotebookActions } from '@jupyterlab/notebook';
import { Signal } from '@lumino/signaling';
import { beforeEach, expect, test, vi } from 'vitest';
import { ApiError, ICell, IDead, IOutput, IShown } from '../api';
import { addedTo, isMissed } from '../cells/outputs';
import { Shown } from '../cells/shown';
import { api } from './fakes';

// The real ones bring all of JupyterLab along.
vi.mock('@jupyterlab/cells', () => ({ isCodeCellModel: () => true }));
vi.mock('@jupyterlab/notebook', async () => {
  const { Signal } = await import('@lumino/signaling');
  return { NotebookActions: { executionScheduled: new Signal({}) } };
});

const SAVED = '2026-03-01T12:00:00Z';
const scheduled = NotebookActions.executionScheduled as unknown as Signal<unknown, unknown>;
const said = (text: string): IOutput => ({ output_type: 'stream', name: 'stdout', text });
const drawn: IOutput = { output_type: 'display_data', data: { 'text/plain': 'x' }, metadata: {} };
const settled = () => vi.waitFor(() => undefined).then(() => new Promise(resolve => setTimeout(resolve)));

class FakeOutputs {
  held: IOutput[] = [];
  get length(): number {
    return this.held.length;
  }
  add = vi.fn((output: IOutput) => this.held.push(output));
  fromJSON = vi.fn((outputs: IOutput[]) => (this.held = outputs));
  toJSON = () => this.held;
}

function cellOf(id: string, parent: object) {
  const outputs = new FakeOutputs();
  const model = { id, outputs, executionCount: null as number | null, executionState: 'idle', trusted: true, deleteMetadata: vi.fn() };
  return { model, parent };
}

interface IMore {
  status?: string;
  count?: number;
  /** The step that runs, or ran when the kernel died. */
  running?: string;
}

/** An open notebook of cells `a`, `b`, … of which nothing is on record but what is given. */
async function page(outputs: (name: string) => IShown | null, more: IMore = {}) {
  const content: any = {};
  const cells = [...'abcdefghijkl'].slice(0, more.count ?? 2).map(id => cellOf(id, content));
  Object.assign(content, { widgets: cells, model: { cells: cells.map(cell => cell.model) } });
  const kernel = { status: more.status ?? 'idle' };
  const sessionContext = { session: { kernel }, statusChanged: new Signal<object, string>({}) };
  const context = { ready: Promise.resolve(), contentsModel: { last_modified: SAVED } };
  const steps: Record<string, Partial<ICell>> = Object.fromEntries(cells.map(({ model: { id } }) => [id, { checkpoint: `step ${id}` }]));
  const model = { changed: new Signal<object, void>({}), execution: 'ex_1', dead: null as IDead | null, of: (id: string) => steps[id] };
  const server = api({
    outputs: async (_, name = more.running) => {
      const found = name === undefined ? null : outputs(name);
      if (found === null) {
        throw new ApiError('nothing is on record', 404, 'unknown-checkpoint');
      }
      return found;
    }
  });
  const panel = { content, sessionContext, context, disposed: new Signal<object, void>({}), isDisposed: false };
  const shown = new Shown(panel as any, model as any, server);
  await settled();
  const news = async () => {
    model.changed.emit();
    await settled();
  };
  const status = async (now: string) => {
    kernel.status = now;
    sessionContext.statusChanged.emit(now);
    await settled();
  };
  return { shown, cells, steps, model, server, news, status };
}

const shownBy = (checkpoint: string, outputs: IOutput[], ended = true): IShown => ({ checkpoint, outputs, ended });

beforeEach(() => Signal.clearData(scheduled));

test.each([
  [{ started_at: '2026-03-01T11:59:50Z', duration: 20 }, true],
  [{ started_at: '2026-03-01T11:59:50Z', duration: 5 }, false],
  [{ started_at: '2026-03-01T12:00:01Z', duration: null }, true],
  [{ started_at: null, duration: 5 }, false],
  [undefined, false]
])('a run %j was missed by what was saved at noon: %s', (step, missed) => {
  expect(isMissed(step as ICell | undefined, Date.parse(SAVED))).toBe(missed);
  expect(isMissed(step as ICell | undefined, NaN)).toBe(false);
});

test.each([
  [[], [said('a')], [said('a')]],
  [[said('a')], [said('a')], []],
  [[said('a')], [said('ab'), drawn], [said('b'), drawn]],
  [[said('a'), drawn], [said('a'), drawn, said('b')], [said('b')]],
  [[said('a')], [said('b')], null],
  [[said('a')], [{ ...said('ab'), name: 'stderr' }], null],
  [[said('a'), drawn], [said('a')], null],
  [[said('a'), drawn], [said('ab'), drawn], null]
])('from %j to %j it adds %j', (before, now, added) => {
  expect(addedTo(before as IOutput[], now as IOutput[])).toEqual(added);
});

test('what ended after the notebook was saved is shown in a cell that holds nothing, not trusted', async () => {
  const { cells, steps, news, server } = await page(name => shownBy(name, [said('hello')]));
  steps.a = { ...steps.a, started_at: '2026-03-01T12:10:00Z', duration: 1 };

  await news();
  await news();

  expect(cells[0].model.outputs.held).toEqual([said('hello')]);
  expect(cells[0].model.trusted).toBe(false);
  expect(cells[0].model.deleteMetadata).toHaveBeenCalledWith('trusted');
  expect(cells[1].model.outputs.held).toEqual([]);
  expect(server.outputs).toHaveBeenCalledTimes(1);
});

test('what a cell holds is never replaced by itself', async () => {
  const { cells, steps, news, server } = await page(name => shownBy(name, [said('hello')]));
  cells[0].model.outputs.held = [said('mine')];
  cells[1].model.executionCount = 3;
  for (const id of ['a', 'b']) {
    steps[id] = { ...steps[id], started_at: '2026-03-01T12:10:00Z', duration: 1 };
  }

  await news();

  expect(server.outputs).not.toHaveBeenCalled();
  expect(cells[0].model.outputs.held).toEqual([said('mine')]);
});

test('the step that runs is found, and followed to its end', async () => {
  const steps: IShown[] = [shownBy('step b', [said('one')], false), shownBy('step b', [said('one two')], false), shownBy('step b', [said('one two'), drawn])];
  const { cells, news, server } = await page(name => (name === 'step b' ? steps.shift()! : null), { status: 'busy', running: 'step b' });
  const { outputs } = cells[1].model;

  await news();
  expect(outputs.held).toEqual([said('one')]);
  await news();
  expect(outputs.held).toEqual([said('one'), said(' two')]);
  await news();
  await news();

  expect(outputs.held).toEqual([said('one'), said(' two'), drawn]);
  expect(outputs.fromJSON).toHaveBeenCalledTimes(1);
  // Found, read twice, and then at each news the next one is looked for.
  expect(vi.mocked(server.outputs).mock.calls.map(([, name]) => name)).toEqual([undefined, 'step b', 'step b', undefined, undefined]);
});

test('a page whose kernel was idle looks for no step that runs, and a busy one asks once, however many cells there are', async () => {
  const idle = await page(() => null, { count: 12 });
  await idle.status('idle');
  await idle.news();
  await idle.status('busy');
  expect(idle.server.outputs).not.toHaveBeenCalled();

  const last = await page(name => shownBy(name, [said('one')], false), { count: 12, status: 'busy', running: 'step l' });
  await last.news();
  expect(last.cells[11].model.outputs.held).toEqual([said('one')]);
  expect(last.server.outputs).toHaveBeenCalledTimes(1);
});

test('a page that learns late that its kernel is busy looks then', async () => {
  const { cells, news, status } = await page(name => shownBy(name, [said('one')], false), { status: 'connecting', running: 'step a' });
  await news();
  expect(cells[0].model.outputs.held).toEqual([]);

  await status('busy');

  expect(cells[0].model.outputs.held).toEqual([said('one')]);
});

test('what is told while it looks is looked at afterwards', async () => {
  const shown = [shownBy('step a', [said('one')], false), shownBy('step a', [said('one two')])];
  const { cells, model } = await page(() => shown.shift() ?? null, { status: 'busy', running: 'step a' });

  model.changed.emit();
  model.changed.emit();
  await settled();

  expect(cells[0].model.outputs.held).toEqual([said('one'), said(' two')]);
});

test('a step that runs in a cell that holds something is put into no other', async () => {
  const { cells, news, server } = await page(name => shownBy(name, [said('one')], false), { status: 'busy', running: 'step a' });
  cells[0].model.outputs.held = [said('mine')];

  await news();

  expect(cells.map(cell => cell.model.outputs.held)).toEqual([[said('mine')], []]);
  expect(server.outputs).toHaveBeenCalledTimes(1);
});

test('of what a dead kernel left it is asked once', async () => {
  const { cells, model, news, server } = await page(name => shownBy(name, [said('last words')], false), { running: 'step a' });
  model.dead = { execution: 'ex_1' } as IDead;

  await news();
  await news();

  expect(cells[0].model.outputs.held).toEqual([said('last words')]);
  expect(server.outputs).toHaveBeenCalledTimes(1);
});

test.each(['cleared', 'run here'])('a cell that is %s meanwhile is let alone', async what => {
  const { cells, news, server } = await page(name => shownBy(name, [said('one')], false), { status: 'busy', count: 1, running: 'step a' });
  await news();

  if (what === 'cleared') {
    cells[0].model.outputs.held = [];
  } else {
    scheduled.emit({ cell: cells[0] });
  }
  await news();
  const asked = vi.mocked(server.outputs).mock.calls.length;
  await news();

  expect(cells[0].model.outputs.held).toEqual(what === 'cleared' ? [] : [said('one')]);
  expect(vi.mocked(server.outputs).mock.calls.length).toBe(asked);
});

test('the command replaces what a cell holds, but not while the cell takes it from its kernel', async () => {
  const { shown, cells, status } = await page(name => shownBy(name, [said('hello')]));
  const { model } = cells[0];
  model.outputs.held = [said('hello')];
  model.executionState = 'running';
  await status('busy');
  expect(await shown.show(cells[0] as any, 'ex_1', 'step a')).toBe('runs here');
  expect(model.outputs.held).toEqual([said('hello')]);

  await status('idle'); // its last word was lost

  expect(await shown.show(cells[0] as any, 'ex_1', 'step a')).toBe('shown');
  expect(model.outputs.held).toEqual([said('hello')]);
  expect(model.outputs.fromJSON).toHaveBeenCalledTimes(1);
});

test('what is not on record, or cannot be read, is said', async () => {
  const nothing = await page(() => null);
  expect(await nothing.shown.show(nothing.cells[0] as any, 'ex_1', 'step a')).toBe('nothing');

  const broken = await page(() => {
    throw new ApiError('no store', 503, 'store');
  });
  await expect(broken.shown.show(broken.cells[0] as any, 'ex_1', 'step a')).rejects.toThrow('no store');
  await broken.news();
  expect(broken.server.outputs).toHaveBeenCalledTimes(1);
});
