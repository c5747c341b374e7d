import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';

const SRC = join(__dirname, '..');
const SHOWN = ['alt', 'aria-label', 'aria-valuetext', 'body', 'caption', 'label', 'placeholder', 'title'];

/** The texts in a file that people are shown and that go through no translation. */
function bare(file: string, source = readFileSync(file, 'utf8')): string[] {
  const kind = file.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS;
  const root = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true, kind);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const text = ts.isJsxText(node) ? node.text : isShown(node) ? node.initializer.text : '';
    if (/\p{L}{2}/u.test(text)) {
      found.push(text.trim());
    }
    ts.forEachChild(node, visit);
  };
  visit(root);
  return found;
}

function isShown(node: ts.Node): node is ts.Node & { initializer: ts.StringLiteralLike } {
  const isPair = ts.isJsxAttribute(node) || ts.isPropertyAssignment(node);
  return isPair && SHOWN.includes(node.name.getText().replace(/'/g, '')) && !!node.initializer && ts.isStringLiteralLike(node.initializer);
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter(name => /\.tsx?$/.test(name) && !name.includes('__tests__'))
  .map(name => [name]);

test.each(files)('all that %s shows goes through the translation', name => {
  expect(bare(join(SRC, name))).toEqual([]);
});

test.each([
  ['<p>Hello</p>', ['Hello']],
  ['<a title="Go on" href="x">{trans.__(\'On\')}</a>', ['Go on']],
  ['f({ label: "Close", id: "kitaru" })', ['Close']],
  ['f({ label: trans.__("Close") })', []]
])('in %s it finds %j', (source, texts) => {
  expect(bare('a.tsx', source)).toEqual(texts);
});
