import { expect, test, vi } from 'vitest';
import { ApiError, IWait } from '../api';
import { WaitsModel } from '../waits/model';
import { Queue } from '../waits/queue';
import { nullTranslator } from '@jupyterlab/translation';
import { drawable, errorsAt, fits, given, isOpen, isUntouched, isYesOrNo, uiOf } from '../waits/schema';
import { isAligned, kindOf } from '../waits/show';
import { FakeNews, api, storage, wait } from './fakes';

const settled = () => new Promise(resolve => setTimeout(resolve, 0));

test('the inbox is read once it is opened, and again when the server has news of waits', async () => {
  const news = new FakeNews();
  const server = api({ waits: async () => [wait()] });
  const model = new WaitsModel(server, news);
  news.tell({ waits: ['ex_1/publish'] });
  expect(server.waits).toHaveBeenCalledTimes(0);

  await model.open();
  news.tell({ waits: ['ex_1/publish'] });
  news.tell({ executions: ['ex_1'] });
  await settled();

  expect(server.waits).toHaveBeenCalledTimes(2);
  expect(model.inbox?.map(each => each.address)).toEqual(['ex_1/publish']);
});

test('a question that a page shows is in its inbox before the news of it comes', async () => {
  const model = new WaitsModel(api({ waits: async () => [], wait: async () => wait() }), new FakeNews());
  await model.open();

  await model.look('ex_1/publish');
  await model.look('ex_1/publish');

  expect(model.inbox).toEqual([wait()]);
});

test('an answer from elsewhere is told once', async () => {
  const news = new FakeNews();
  let now: IWait = wait();
  const server = api({ wait: async () => now, waits: async () => (now.status === 'pending' ? [now] : []) });
  const model = new WaitsModel(server, news);
  const told: boolean[] = [];
  model.answered.connect((_, { here }) => told.push(here));
  await model.open();

  now = wait({ status: 'answered', answer: true });
  news.tell({ waits: [now.address] });
  await settled();
  news.tell({ waits: [now.address], all: true });
  await settled();

  expect(told).toEqual([false]);
  expect(model.inbox).toEqual([]);
});

test('an answer is of this page, also where its news comes before the reply', async () => {
  const news = new FakeNews();
  const answered = wait({ status: 'answered', answer: true });
  let reply: (wait: IWait) => void = () => undefined;
  const answer = () => new Promise<IWait>(resolve => (reply = resolve));
  const model = new WaitsModel(api({ answer, waits: async () => [], wait: vi.fn().mockResolvedValueOnce(wait()).mockResolvedValue(answered) }), news);
  const told: boolean[] = [];
  model.answered.connect((_, { here }) => told.push(here));
  await model.look('ex_1/publish');

  const given = model.answer(wait(), true);
  news.tell({ waits: ['ex_1/publish'] });
  await settled();
  reply(answered);
  await given;

  expect(told).toEqual([true]);
});

test('an inbox that could not be read says nothing over one that was asked for later', async () => {
  let fail: (error: Error) => void = () => undefined;
  const waits = vi
    .fn()
    .mockImplementationOnce(() => new Promise((_, reject) => (fail = reject)))
    .mockResolvedValue([wait()]);
  const model = new WaitsModel(api({ waits }), new FakeNews());
  const late = model.open();

  await model.refresh();
  fail(new ApiError('down', 503));
  await late;

  expect(model.problem).toBeNull();
});

test('what was asked before the answer and comes after it does not take it back', async () => {
  let release: (waits: IWait[]) => void = () => undefined;
  const waits = vi
    .fn()
    .mockResolvedValueOnce([wait()])
    .mockImplementationOnce(() => new Promise(resolve => (release = resolve)))
    .mockResolvedValue([]);
  const answered = wait({ status: 'answered', answer: true });
  const model = new WaitsModel(api({ waits, answer: async () => answered, wait: async () => answered }), new FakeNews());
  const told: boolean[] = [];
  model.answered.connect((_, { here }) => told.push(here));
  await model.open();
  const late = model.refresh();

  await model.answer(wait(), true);
  release([wait()]);
  await late;
  await model.refresh();

  expect(model.get('ex_1/publish')).toEqual(answered);
  expect(model.inbox).toEqual([]);
  expect(told).toEqual([true]);
});

test('an inbox that comes late does not replace a newer one', async () => {
  let release: (waits: IWait[]) => void = () => undefined;
  const other = wait({ address: 'ex_1/other' });
  const waits = vi
    .fn()
    .mockImplementationOnce(() => new Promise(resolve => (release = resolve)))
    .mockResolvedValue([wait(), other]);
  const model = new WaitsModel(api({ waits }), new FakeNews());
  const late = model.open();
  await model.refresh();

  release([wait()]);
  await late;

  expect(model.inbox).toEqual([wait(), other]);
});

test('a question that is asked anew after its answer is pending again', async () => {
  const now = vi.fn().mockResolvedValueOnce(wait()).mockResolvedValueOnce(wait({ status: 'answered' }));
  const again = wait({ binding: 'b2' });
  const model = new WaitsModel(api({ wait: now.mockResolvedValue(again) }), new FakeNews());

  for (let look = 0; look < 3; look++) {
    await model.look('ex_1/publish');
  }

  expect(model.get('ex_1/publish')).toEqual(again);
});

test('an answer that is refused because somebody was faster shows theirs', async () => {
  const theirs = wait({ status: 'answered', answer: false, answered_by: 'Ben' });
  const server = api({
    answer: async () => {
      throw new ApiError('Ben has answered', 409, 'answered');
    },
    wait: async () => theirs
  });
  const model = new WaitsModel(server, new FakeNews());

  await expect(model.answer(wait(), true)).rejects.toThrow('Ben has answered');

  expect(model.get('ex_1/publish')).toEqual(theirs);
});

test('an answer goes with what it holds for', async () => {
  const server = api({ answer: async () => wait({ status: 'answered', answer: true }) });
  const model = new WaitsModel(server, new FakeNews());

  await model.answer(wait(), true, 'fine');

  expect(server.answer).toHaveBeenCalledWith('ex_1/publish', true, { reason: 'fine', binding: 'b1' });
});

test('an inbox that cannot be read says why, and keeps what it had', async () => {
  const waits = vi.fn().mockResolvedValueOnce([wait()]).mockRejectedValue(new ApiError('down', 503));
  const model = new WaitsModel(api({ waits }), new FakeNews());
  await model.open();

  await model.refresh();

  expect(model.problem?.message).toBe('down');
  expect(model.inbox).toHaveLength(1);
});

test('what is queued behind a waiting cell is known, also after a reload', () => {
  const kept = storage();
  const queue = new Queue(kept);
  ['a', 'b', 'c', 'd'].forEach(cell => queue.scheduled('n', cell));
  queue.ended('n', 'a', null);

  queue.ended('n', 'b', 'ex_1/w');

  expect(new Queue(kept).held('ex_1/w')).toEqual({ queue: ['c', 'd'] });
});

test('a queued cell that is run by hand meanwhile is not run again', () => {
  const queue = new Queue(storage());
  ['a', 'b', 'c'].forEach(cell => queue.scheduled('n', cell));
  queue.ended('n', 'a', 'ex_1/w');
  ['b', 'c'].forEach(cell => queue.ended('n', cell, null));

  queue.scheduled('n', 'b');

  expect(queue.held('ex_1/w')?.queue).toEqual(['c']);
});

test('that holds after a reload, too', () => {
  const kept = storage();
  const queue = new Queue(kept);
  ['a', 'b', 'c'].forEach(cell => queue.scheduled('n', cell));
  queue.ended('n', 'a', 'ex_1/w');
  kept.setItem('of somebody else', 'no JSON');

  const reloaded = new Queue(kept);
  reloaded.scheduled('n', 'b');

  expect(reloaded.held('ex_1/w')?.queue).toEqual(['c']);
});

test('once it goes on nothing is held any more', () => {
  const queue = new Queue(storage());
  queue.scheduled('n', 'a');
  queue.ended('n', 'a', 'ex_1/w');

  queue.release('ex_1/w');

  expect(queue.held('ex_1/w')).toBeNull();
});

test('yes or no is a boolean without more', () => {
  expect(isYesOrNo({ type: 'boolean' })).toBe(true);
  expect(isYesOrNo({ type: 'boolean', enum: [true] })).toBe(false);
  expect(isYesOrNo(null)).toBe(false);
});

test('what may be null is drawn as what it is besides', () => {
  const schema = {
    type: 'object',
    properties: { note: { anyOf: [{ type: 'string' }, { type: 'null' }], default: null, title: 'Note' } }
  };

  expect(drawable(schema)).toEqual({ type: 'object', properties: { note: { type: 'string', title: 'Note' } } });
});

test('a choice among real alternatives stays one', () => {
  const schema = { anyOf: [{ type: 'string' }, { type: 'integer' }] };

  expect(drawable(schema)).toEqual(schema);
});

test('errors stand at the fields that their pointers name', () => {
  expect(errorsAt({ '/a~1b/0': 'wrong', '': 'all wrong' })).toEqual({
    __errors: ['all wrong'],
    'a/b': { '0': { __errors: ['wrong'] } }
  });
});

test('long texts are typed into an area', () => {
  expect(uiOf({ type: 'object', properties: { essay: { type: 'string', maxLength: 5000 }, n: { type: 'integer' } } })).toEqual(
    { essay: { 'ui:widget': 'textarea', 'ui:options': { rows: 4 } }, n: {} }
  );
});

test('a list whose places are different is drawn place by place', () => {
  const point = { type: 'array', prefixItems: [{ type: 'number' }, { type: 'string' }], minItems: 2, maxItems: 2 };

  expect(drawable(point)).toEqual({
    type: 'array',
    items: [{ type: 'number' }, { type: 'string' }],
    additionalItems: false,
    minItems: 2,
    maxItems: 2
  });
});

test.each([
  [{}, true],
  [{ title: 'Anything' }, true],
  [{ type: 'array' }, true],
  [{ type: 'object', additionalProperties: true }, true],
  [{ type: ['integer', 'string'] }, true],
  [{ type: 'array', items: { type: 'string' } }, false],
  [{ type: 'object', additionalProperties: { type: 'number' } }, false],
  [{ type: 'object', properties: {} }, false],
  [{ enum: [1, 'a'] }, false],
  [{ type: 'integer' }, false]
])('%j says too little for a field: %s', (schema, expected) => {
  expect(isOpen(schema as any)).toBe(expected);
});

test('what says too little is typed as JSON wherever it stands, also behind a reference to itself', () => {
  const tree = {
    $ref: '#/$defs/Tree',
    $defs: { Tree: { type: 'object', properties: { data: {}, below: { type: 'array', items: { $ref: '#/$defs/Tree' } } } } }
  };

  const ui: any = uiOf(tree as any);

  expect(ui.data).toEqual({ 'ui:field': 'JsonField' });
  expect(ui.below.items.data).toEqual({ 'ui:field': 'JsonField' });
});

test('alternatives are called by what they are', () => {
  const schema = { anyOf: [{ type: 'integer' }, { type: 'string', title: 'Word' }, { const: 3 }] };

  const drawn: any = drawable(schema, nullTranslator.load(''));

  expect(drawn.anyOf.map((each: any) => each.title)).toEqual(['a whole number', 'Word', '3']);
});

test.each([
  [{ minimum: 0, maximum: 9 }, '0 to 9'],
  [{ minimum: 1 }, 'at least 1'],
  [{ exclusiveMinimum: 0, maximum: 5 }, 'more than 0, at most 5']
])('bounds %j are said in the field', (bounds, said) => {
  expect(uiOf({ type: 'integer', ...bounds }, nullTranslator.load(''))).toEqual({ 'ui:placeholder': said });
});

test.each([
  [{}, undefined, true],
  [{}, null, false],
  [{ type: 'integer' }, undefined, true],
  [{ type: ['integer', 'null'] }, undefined, true],
  [{ anyOf: [{ type: 'integer' }, { type: 'null' }] }, undefined, false],
  [{ enum: ['a'], type: 'string' }, undefined, true],
  [{ type: 'string' }, undefined, false],
  [{ type: 'null' }, undefined, false]
])('of %j %j is no answer: %s', (schema, value, expected) => {
  expect(isUntouched(schema as any, value)).toBe(expected);
});

test.each([
  [{ type: 'string' }, ''],
  [{ type: 'object' }, {}],
  [{ type: 'integer' }, null]
])('an untouched form of %j sends %j', (schema, value) => {
  expect(given(schema, undefined)).toEqual(value);
});

const animals = { $defs: { cat: { type: 'object', required: ['claws'], properties: { claws: { type: 'integer' } } } } };

test.each([
  [{ $ref: '#/$defs/cat' }, { claws: 4 }, true],
  [{ $ref: '#/$defs/cat' }, { claws: 'x' }, false],
  [{ $ref: '#/$defs/cat' }, {}, false],
  [{ type: ['string', 'null'] }, null, true],
  [{ enum: ['a', 'b'] }, 'c', false],
  [{ const: 1 }, 1, true],
  [{ oneOf: [{ type: 'string' }, { type: 'number' }] }, true, false],
  [{ allOf: [{ type: 'integer' }, { enum: [1, 2] }] }, 2, true]
])('%j takes %j: %s', (schema, value, expected) => {
  expect(fits(schema as any, value as any, animals)).toBe(expected);
});

test.each([
  ['plain text', 'text'],
  ['--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y', 'diff'],
  [[{ a: 1 }, { a: 2 }], 'table'],
  [{ a: 1, b: 'x' }, 'fields'],
  [{ 'image/png': 'iVBORw0KGgo=', 'text/plain': 'Figure(640x480)' }, 'picture'],
  [{ 'image/png': 'iVBORw0KGgo=' }, 'picture'],
  [{ 'image/png': 'iVBORw0KGgo=', verdict: 'fine' }, 'fields'],
  [{ 'image/svg+xml': 'iVBORw0KGgo=', 'text/plain': 'x' }, 'fields'],
  [{ 'image/png': 'a" onerror="alert(1)' }, 'fields'],
  [{ 'image/png': 'aaaa,<svg>' }, 'fields'],
  [{ 'image/png': 'aaaa\n' }, 'fields'],
  [{ 'image/png': '' }, 'fields'],
  [{ 'image/png': ['aaaa'] }, 'json'],
  [{ a: { b: 1 } }, 'json'],
  [[1, 2], 'json'],
  [[], 'json']
])('%j is shown as %s', (value, kind) => {
  expect(kindOf(value as any)).toBe(kind);
});

test.each([
  ['    a    b\n0   1    2\n1   3    4', true],
  ['    a    b\n0   1    2\n1   3    4\n\n[900 rows x 2 columns]', true],
  ['a line of prose\nand one  more\nand  a third, longer one', false],
  ['one\ntwo\nsix', false],
  ['a  b', false]
])('%j is a table in letters: %s', (text, expected) => {
  expect(isAligned(text)).toBe(expected);
});
