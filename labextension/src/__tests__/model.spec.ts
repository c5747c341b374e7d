import { Signal } from '@lumino/signaling';
import { expect, test, vi } from 'vitest';
import { ApiError } from '../api';
import { CellsModel } from '../cells/model';
import { FakeNews, api } from './fakes';

vi.mock('@jupyterlab/cells', () => ({ isCodeCellModel: () => true }));

test('why it cannot be told how cells stand is known, until it can', async () => {
  vi.useFakeTimers();
  const cell = { id: 'a', getMetadata: () => undefined, sharedModel: { getSource: () => '%%checkpoint load' } };
  const content = { model: { cells: [cell] }, modelContentChanged: new Signal({}) };
  const context = { ready: Promise.resolve(), localPath: 'x.ipynb' };
  const panel = { content, context, disposed: new Signal({}), isVisible: true, isDisposed: false };
  const found = { execution: 'ex_1', cells: { a: { checkpoint: 'load', status: 'fresh' } }, dead: null };
  const cells = vi.fn().mockRejectedValueOnce(new ApiError('down', 503)).mockResolvedValue(found);
  const news = new FakeNews();
  const model = new CellsModel(panel as any, api({ cells }), news);

  await vi.advanceTimersByTimeAsync(1000);
  expect(model.problem?.message).toBe('down');
  expect(model.of('a')).toBeUndefined();

  news.tell({ all: true });
  await vi.advanceTimersByTimeAsync(1000);
  expect(model.problem).toBeNull();
  expect(model.of('a')?.status).toBe('fresh');
});
