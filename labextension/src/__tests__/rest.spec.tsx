import { MimeModel, RenderMimeRegistry, standardRendererFactories } from '@jupyterlab/rendermime';
import { Widget } from '@lumino/widgets';
import { expect, test, vi } from 'vitest';
import { ApiError } from '../api';
import { WaitsModel } from '../waits/model';
import { MIME, WaitRenderer } from '../waits/renderer';
import { FakeNews, api, trans, wait } from './fakes';

const rendermime = new RenderMimeRegistry({ initialFactories: standardRendererFactories });

/** An output with the address of a wait and its words, drawn with what the server says of the wait. */
async function drawn(said: () => Promise<any>): Promise<WaitRenderer> {
  const calls = api({ wait: said });
  const kitaru = { api: calls, trans, waits: new WaitsModel(calls, new FakeNews()) };
  const renderer = new WaitRenderer(kitaru as any, () => undefined, () => rendermime);
  Widget.attach(renderer, document.body);
  const data = { [MIME]: { address: 'ex_1/publish' }, 'text/plain': 'kitaru: waits for an answer: a word' };
  await renderer.renderModel(new MimeModel({ data, trusted: false }));
  return renderer;
}

test('of a question that is recorded elsewhere the output shows what else it holds', async () => {
  const renderer = await drawn(() => Promise.reject(new ApiError('there is none', 404, 'unknown-execution')));

  await vi.waitFor(() => expect(renderer.node.textContent).toContain('waits for an answer: a word'));
  expect(renderer.node.textContent).toContain('This server has no record of the question');
});

test('where the server part is missing, too', async () => {
  const renderer = await drawn(() => Promise.reject(new ApiError('404 Not Found', 404)));

  await vi.waitFor(() => expect(renderer.node.textContent).toContain('waits for an answer: a word'));
});

test('what is broken is said, and of a question that is known no word of the output shows', async () => {
  const broken = await drawn(() => Promise.reject(new ApiError('the disk is gone', 503, 'store')));
  const known = await drawn(() => Promise.resolve(wait()));

  await vi.waitFor(() => expect(broken.node.textContent).toContain('the disk is gone'));
  await vi.waitFor(() => expect(known.node.textContent).toContain('Publish?'));
  expect(broken.node.textContent + known.node.textContent!).not.toContain('a word');
});
