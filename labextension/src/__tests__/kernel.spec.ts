import { execFileSync } from 'node:child_process';
import { expect, test, vi } from 'vitest';
import { codeOf, magic, notebookOf } from '../kernel';
import { trans } from './fakes';

/** A session whose kernel takes everything, and what it was given. */
function session() {
  const codes: string[] = [];
  const requestExecute = vi.fn(({ code }: { code: string }) => {
    codes.push(code);
    return { done: Promise.resolve({ content: { status: 'ok' } }) };
  });
  return { codes, context: { session: { kernel: { requestExecute } } } as any };
}

test.each([
  ['load', '%why load'],
  ['two words', "%why 'two words'"],
  ['größe#2', '%why größe#2']
])('%j is asked for as it is typed: %s', (name, code) => {
  expect(codeOf('why', name)).toBe(code);
});

test.each([
  ["'/mnt/team/it%27s%20%C3%A9t%C3%A9.ipynb'", "/mnt/team/it's été.ipynb"],
  ['None', null],
  [null, null],
  ["'%ZZ'", null]
])('a kernel that answers %j calls its notebook %j', async (shown, path) => {
  const content = { status: 'ok', user_expressions: { kitaru: shown && { data: { 'text/plain': shown } } } };
  const kernel = { requestExecute: () => ({ done: Promise.resolve({ content }) }) };

  expect(await notebookOf(kernel as any)).toBe(path);
});

const HOSTILE = [
  "{open('x','w')}",
  '$HOME',
  "a'b",
  'a"b',
  'a\\',
  'a\n!touch x',
  'a\u2028%rewind b',
  'a\u0085!touch x',
  "it's {x} $y 😀",
  'load?',
  '`id`'
];

test.each(HOSTILE)('of the name %j nothing is left that IPython would read', name => {
  expect(codeOf('why', name)).toMatch(/^get_ipython\(\)\.find_line_magic\('why'\)\('[A-Za-z0-9\\]*'\)$/);
});

test('each such name arrives at the magic as it is', () => {
  const script = `
import json, shlex, sys
class Shell:
    def find_line_magic(self, name):
        return shlex.split
get_ipython = Shell
print(json.dumps([eval(code) for code in json.load(sys.stdin)]))`;
  const said = execFileSync('python3', ['-c', script], { input: JSON.stringify(HOSTILE.map(each => codeOf('why', each))) });

  expect(JSON.parse(String(said))).toEqual(HOSTILE.map(each => [each]));
});

test('a name that begins as an option does is not taken for one', async () => {
  const { codes, context } = session();

  const said = await magic(context, trans, 'rewind', '--undo');

  expect(said.ok).toBe(false);
  expect(codes).toEqual([]);
});

test('without a kernel it is said what to do', async () => {
  expect(await magic({ session: null } as any, trans, 'why', 'load')).toEqual({
    ok: false,
    text: 'This notebook has no kernel. Start one, then try again.'
  });
});
