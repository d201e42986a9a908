import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expandWord } from '../../../../agent/build/dockerfile/words.ts';
import { toClusterError } from '../../../../common/errors.ts';
import { dollars } from '../../../support/dockerfile.ts';

const VARIABLES = new Map([
  ['x', 'value'],
  ['file', 'abc.def.tar.gz'],
  ['path', '/usr/local/bin'],
  ['empty', ''],
  ['spaced', ' a  b '],
  ['_u9', 'under'],
  ['ä', 'umlaut'],
]);
const text = (word: string, sign = '\\'): string => expandWord(dollars(word), VARIABLES, { escape: sign }).text;

it.each([
  // Source: Dockerfile reference, "Environment replacement".
  ['$x', 'value'],
  ['@{x}', 'value'],
  ['@{x}_y', 'value_y'],
  ['$x_y', ''],
  ['$x-y', 'value-y'],
  ['$_u9', 'under'],
  ['$ä', 'umlaut'],
  ['$9x', 'x'],
  ['$', '$'],
  ['a$', 'a$'],
  ['$ x', '$ x'],
  ['$(x)', '$(x)'],
  ['\\$x', '$x'],
  ['\\@{x}', '@{x}'],
  ['\\\\$x', '\\value'],
  ['a\\b', 'ab'],
  ['a\\', 'a'],
  ['$unset', ''],
  ['@{unset}', ''],
  // An unset or empty variable has a stand-in.
  ['@{x:-word}', 'value'],
  ['@{unset:-word}', 'word'],
  ['@{empty:-word}', 'word'],
  ['@{unset-word}', 'word'],
  ['@{empty-word}', ''],
  ['@{x:+word}', 'word'],
  ['@{unset:+word}', ''],
  ['@{empty:+word}', ''],
  ['@{empty+word}', 'word'],
  ['@{unset+word}', ''],
  ['@{unset:-$x}', 'value'],
  ['@{unset:-@{empty:-@{x}}}', 'value'],
  ['@{unset:-"a b"}', 'a b'],
  ["@{unset:-'$x'}", '$x'],
  ['@{unset:-\\}}', '}'],
  ['@{unset:-}', ''],
  ['@{x:?why}', 'value'],
  ['@{x?why}', 'value'],
  ['@{empty?why}', ''],
  // The shortest and the longest beginning or end goes.
  ['@{file#*.}', 'def.tar.gz'],
  ['@{file##*.}', 'gz'],
  ['@{file%.*}', 'abc.def.tar'],
  ['@{file%%.*}', 'abc'],
  ['@{file#abc}', '.def.tar.gz'],
  ['@{file#b}', 'abc.def.tar.gz'],
  ['@{file%.g?}', 'abc.def.tar'],
  ['@{file#a?c}', '.def.tar.gz'],
  ['@{file%\\*}', 'abc.def.tar.gz'],
  ['@{path##*/}', 'bin'],
  ['@{path%/*}', '/usr/local'],
  ['@{unset#a}', ''],
  ['@{empty%*}', ''],
  // A pattern is replaced once, or everywhere.
  ['@{file/./-}', 'abc-def.tar.gz'],
  ['@{file//./-}', 'abc-def-tar-gz'],
  ['@{file/d*r/X}', 'abc.X.gz'],
  ['@{file//[a]/X}', 'abc.def.tar.gz'],
  ['@{path//\\//.}', '.usr.local.bin'],
  ['@{x//a/}', 'vlue'],
  ['@{x/u/$file}', 'valabc.def.tar.gze'],
  ['@{x//?/ab}', 'ababababab'],
  ['@{file/$x/y}', 'abc.def.tar.gz'],
  // Quotes.
  ["'$x'", '$x'],
  ["'\\n'", '\\n'],
  ["a'b c'd", 'ab cd'],
  ['"$x"', 'value'],
  ['"\\$x"', '$x'],
  ['"a\\"b"', 'a"b'],
  ['"a\\nb"', 'a\\nb'],
  ['"a\\\\b"', 'a\\b'],
  ['"it\'s"', "it's"],
  ['\'say "x"\'', 'say "x"'],
  ['""', ''],
  ['"@{unset:-a b}"', 'a b'],
  ['a  b', 'a  b'],
])('makes %j to %j', (word, expected) => expect(text(word)).toBe(dollars(expected)));

it.each([
  ['`$x', '$x'],
  ['c:\\$x', 'c:\\value'],
  ['"a`"b"', 'a"b'],
  ['"a\\"', 'a\\'],
])('with the escape of a backquote, makes %j to %j', (word, expected) => expect(text(word, '`')).toBe(expected));

it.each([
  ['@{', "missing '}'"],
  ['@{x', "missing '}'"],
  ['@{x:-y', "missing '}'"],
  ['@{x/a', "missing '/'"],
  ['@{x/a/b', "missing '}'"],
  ['@{}', 'bad substitution'],
  ['@{:x}', 'bad substitution'],
  ['@{{x}}', 'bad substitution'],
  ['@{x!y}', 'unsupported modifier (!) in substitution'],
  ['@{x:=y}', 'unsupported modifier (:=) in substitution'],
  ['@{x:1:2}', 'unsupported modifier (:1) in substitution'],
  ['@{x^^}', 'unsupported modifier (^) in substitution'],
  ['@{x#\\a}', "invalid escape '\\a'"],
  ["'x", 'matching single-quote'],
  ['"x', 'matching double-quote'],
  ['"x\\', 'matching double-quote'],
  ['@{unset:?give it a value}', 'unset: give it a value'],
  ['@{unset?}', 'unset: is not allowed to be unset'],
  ['@{empty:?}', 'empty: is not allowed to be empty'],
])('refuses %j: %s', (word, why) => expect(() => text(word)).toThrow(why));

describe('words', () => {
  const words = (word: string) => expandWord(word, VARIABLES, { escape: '\\' }).words;
  it.each([
    ['a b', ['a', 'b']],
    ['$spaced', ['a', 'b']],
    ['"$spaced"', [' a  b ']],
    ["a' 'b", ['a b']],
    ['a\\ b', ['a b']],
    ['x$spaced.y', ['x', 'a', 'b', '.y']],
    ['  ', []],
    ['$unset', []],
  ])('splits %j into %j', (word, expected) => expect(words(word)).toEqual(expected));
});

it('leaves quotes of a document alone', () => {
  const options = { escape: '\\', quotesAreText: true };
  expect(expandWord("\"$x\" '$x' it's \\$x", VARIABLES, options).text).toBe("\"value\" 'value' it's $x");
});

it('names the variables that have no value', () => {
  expect(expandWord(dollars('$a @{b} $a @{c:-d} $x'), VARIABLES, { escape: '\\' }).unset).toEqual(['a', 'b']);
});

it('does not let a text grow without end', () => {
  const long = new Map([['x', 'y'.repeat(70_000)]]);
  expect(() => expandWord('$x$x', long, { escape: '\\' })).toThrow('grows beyond 131072');
});

it('does not let substitutions nest without end', () => {
  expect(() => text('@{unset:-'.repeat(10_000))).toThrow('nested deeper than 64');
});

it('takes a hostile pattern without backtracking', () => {
  const value = new Map([['x', 'a'.repeat(3_000)]]);
  expect(expandWord(`\${x%${'*a'.repeat(1_000)}b}`, value, { escape: '\\' }).text).toHaveLength(3_000);
  expect(() => expandWord(`\${x//${'*a'.repeat(10_000)}b/}`, value, { escape: '\\' })).toThrow(
    'pattern in a substitution is too long',
  );
});

const pieces = fc.constantFrom(
  '$',
  '{',
  '}',
  'x',
  'unset',
  ':',
  '-',
  '+',
  '?',
  '#',
  '%',
  '/',
  '*',
  "'",
  '"',
  '\\',
  '`',
  ' ',
  'ä',
  '😀',
  '\n',
);

it('ends for every word with a text or a ClusterError', () => {
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), fc.constantFrom('\\', '`'), (parts, sign) => {
      try {
        expect(typeof text(parts.join(''), sign)).toBe('string');
      } catch (cause) {
        expect(toClusterError(cause).code).toBe('invalid');
      }
    }),
    { numRuns: 3_000 },
  );
});

it('gives back what has neither quotes, escapes nor variables', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (word) => {
      const plain = word.replace(/[$'"\\]/g, '');
      expect(expandWord(plain, VARIABLES, { escape: '\\' }).text).toBe(plain);
    }),
  );
});

it('keeps single-quoted text as it is', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (word) => {
      const inside = word.replaceAll("'", '');
      expect(expandWord(`'${inside}'`, VARIABLES, { escape: '\\' }).text).toBe(inside);
    }),
  );
});
