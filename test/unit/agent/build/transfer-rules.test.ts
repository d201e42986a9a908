import { describe, expect, it } from 'vitest';
import { destinationOf, proveDestination } from '../../../../agent/build/dockerfile/destination.ts';
import { baseName, cleanPath } from '../../../../common/context/paths.ts';
import { scratch, stepFlaw } from '../../../support/dockerfile.ts';

it.each([
  ['/a', '/w', '/a', false],
  ['/a/', '/w', '/a', true],
  ['a', '/w', '/w/a', false],
  ['a/', '/w', '/w/a', true],
  ['.', '/w', '/w', true],
  ['./', '/w', '/w', true],
  ['..', '/w/x', '/w', true],
  ['a/.', '/w', '/w/a', true],
  ['../../../a', '/w', '/a', false],
  ['a', '', '/a', false],
  ['a..', '/w', '/w/a..', false],
  ['/', '/w', '/', true],
])('puts %s, from %s, to %s', (dest, workdir, path, isFolder) =>
  expect(destinationOf(dest, workdir)).toEqual({ path, isFolder }),
);

describe('several sources', () => {
  it.each(['COPY a b c/', 'COPY a b .', 'COPY a b /', 'COPY a b ..', 'COPY <<a <<b /c/\na\nb', 'ADD a https://h/b c/'])(
    'fit into the folder of %j',
    (line) => {
      expect(scratch(line).steps).toHaveLength(1);
    },
  );

  it.each(['COPY a b c', 'COPY a <<b /c\nb', 'ADD a https://h/b c', 'COPY ["a", "b", "c"]'])(
    'do not fit into the file of %j',
    (line) => {
      expect(stepFlaw(line)).toMatch(
        /line.* 2.*when using (?:COPY|ADD) with more than one source file, the destination must be a directory and end with a \//,
      );
    },
  );

  it('are also those that a pattern has found', () => {
    expect(() => proveDestination('COPY', 'a', 2)).toThrow('must be a directory and end with a /: a');
    expect(() => proveDestination('COPY', 'a', 1)).not.toThrow();
  });
});

describe('sources', () => {
  it.each(['../a', '/../a', 'a/../../b', '..'])('outside of the context are refused: %s', (source) => {
    expect(stepFlaw(`COPY ${source} /x`)).toContain(`line 2: forbidden path outside the build context: ${source}`);
  });

  it.each(['COPY a/../b /x', 'COPY /a /x', 'COPY ..a /x', 'COPY --from=x ../a /x', 'ADD https://h/../a /x'])(
    'inside of it, or of an image, are taken: %s',
    (line) => {
      expect(scratch(line).steps).toHaveLength(1);
    },
  );
});

it.each([
  ['', '.'],
  ['.', '.'],
  ['/', '/'],
  ['//a///b/', '/a/b'],
  ['a/./b', 'a/b'],
  ['a/b/..', 'a'],
  ['a/..', '.'],
  ['..', '..'],
  ['../../a', '../../a'],
  ['/..', '/'],
  ['/../a', '/a'],
  ['a/../../b', '../b'],
])('cleans the path %j to %j', (path, clean) => expect(cleanPath(path)).toBe(clean));

it.each([
  ['/a/b', 'b'],
  ['a/b/', 'b'],
  ['/', ''],
])('the name of %s is %j', (path, name) => expect(baseName(path)).toBe(name));
