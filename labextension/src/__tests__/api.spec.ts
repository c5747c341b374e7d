import { ServerConnection } from '@jupyterlab/services';
import { expect, test, vi } from 'vitest';
import { Api, ApiError } from '../api';

function served(status: number, body: string) {
  const fetch = vi.fn(async (request: any) => {
    void request;
    return new Response(body, { status, statusText: 'said' });
  });
  const settings = ServerConnection.makeSettings({ baseUrl: 'http://a.test/base/', fetch: fetch as any, token: '' });
  return { api: new Api(settings), fetch };
}

test('an address is one segment of the path', async () => {
  const { api, fetch } = served(200, '{}');

  await api.wait('ex_1/a name#2');

  expect(new URL(fetch.mock.calls[0][0].url).pathname).toBe('/base/kitaru-nb/api/waits/ex_1%2Fa%20name%232');
});

test('an answer is sent as JSON, with what it holds for', async () => {
  const { api, fetch } = served(200, '{}');

  await api.answer('ex_1/a', { amount: 1 }, { binding: 'b' });

  const request: Request = fetch.mock.calls[0][0];
  expect(request.method).toBe('POST');
  expect(await request.json()).toEqual({ answer: { amount: 1 }, binding: 'b' });
});

test('large whole numbers come and go to the letter', async () => {
  const { api, fetch } = served(200, '{"show": {"account": 9007199254740993}}');

  const found = await api.wait('ex_1/a');
  await api.answer('ex_1/a', (found.show as any).account);

  expect((found.show as any).account).toBe(9007199254740993n);
  expect(await (fetch.mock.calls[1][0] as Request).text()).toBe('{"answer":9007199254740993}');
});

test('what is not asked for is not in the query', async () => {
  const { api, fetch } = served(200, '{"executions": [], "more": false}');

  await api.executions({ limit: 5, status: undefined, q: '' });

  const url = new URL(fetch.mock.calls[0][0].url);
  url.searchParams.delete(String([...url.searchParams.keys()].find(key => /^\d+$/.test(key)))); // against caches
  expect(url.search).toBe('?limit=5');
});

test('a refusal is told in the server’s words, field by field', async () => {
  const body = { error: { kind: 'invalid-answer', message: 'no', hint: 'do' }, fields: { '/amount': 'too small' } };
  const { api } = served(422, JSON.stringify(body));

  const error: ApiError = await api.wait('a').catch(failure => failure);

  expect(error).toBeInstanceOf(ApiError);
  expect([error.status, error.kind, error.message, error.hint]).toEqual([422, 'invalid-answer', 'no', 'do']);
  expect(error.fields).toEqual({ '/amount': 'too small' });
  expect(error.isMissing).toBe(false);
});

test('a page of Jupyter’s own says that the server part is missing', async () => {
  const { api } = served(404, '<html>not here</html>');

  const error: ApiError = await api.waits().catch(failure => failure);

  expect(error.isMissing).toBe(true);
});

test('a server that does not answer is an error with status 0', async () => {
  const fetch = vi.fn(async () => {
    throw new TypeError('refused');
  });
  const api = new Api(ServerConnection.makeSettings({ baseUrl: 'http://a.test/', fetch: fetch as any }));

  const error: ApiError = await api.waits().catch(failure => failure);

  expect(error.status).toBe(0);
});
