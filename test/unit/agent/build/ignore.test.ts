import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { globOf } from '../../../../common/context/glob.ts';
import { ignoreFileNames, ignoreOf, ignoreOfPatterns } from '../../../../common/context/ignore.ts';
import { toClusterError } from '../../../../common/errors.ts';

const ignores = (lines: readonly string[], path: string): boolean =>
  ignoreOf(lines.join('\n'), '.dockerignore').ignores(path);

describe('.dockerignore', () => {
  it.each([
    // Source: Dockerfile reference, ".dockerignore file".
    [['*/temp*'], 'somedir/temporary.txt', true],
    [['*/temp*'], 'somedir/temp', true],
    [['*/temp*'], 'temp', false],
    [['*/temp*'], 'a/b/temp', false],
    [['*/*/temp*'], 'somedir/subdir/temporary.txt', true],
    [['temp?'], 'tempa', true],
    [['temp?'], 'temp', false],
    [['temp?'], 'tempab', false],
    [['**/*.go'], 'a.go', true],
    [['**/*.go'], 'a/b/c.go', true],
    [['/foo/bar'], 'foo/bar', true],
    [['foo/bar'], 'foo/bar', true],
    [['*.md', '!README.md'], 'README.md', false],
    [['*.md', '!README.md'], 'CHANGES.md', true],
    [['*.md', '!README*.md', 'README-secret.md'], 'README-a.md', false],
    [['*.md', '!README*.md', 'README-secret.md'], 'README-secret.md', true],
    [['*.md', 'README-secret.md', '!README*.md'], 'README-secret.md', false],
    [['*', '!src'], 'src', false],
    [['*', '!src'], 'src/a/b', false],
    [['*', '!src'], 'other/a', true],
    // Comments and blanks.
    [['# a', '', '   ', 'b'], 'b', true],
    [['# a'], '# a', false],
    [[' # a'], '# a', true],
    [['  a  '], 'a', true],
    [['a\r'], 'a', true],
    [['\uFEFFa'], 'a', true],
    [['! a', 'b'], 'b', true],
    [['a', '! a'], 'a', false],
    // A folder goes with all that is in it; what is in it may be taken back.
    [['a'], 'a/b/c', true],
    [['a'], 'ab', false],
    [['a/'], 'a', true],
    [['a/'], 'a/b', true],
    [['a', '!a/b'], 'a/b', false],
    [['a', '!a/b'], 'a/b/c', false],
    [['a', '!a/b'], 'a/c', true],
    [['a', '!a/b'], 'a', true],
    [['a/*', '!a/b'], 'a', false],
    [['a', '!a/b', 'a/b/c'], 'a/b/c', true],
    [['!a', 'a'], 'a', true],
    // Clean paths.
    [['./a'], 'a', true],
    [['a/../b'], 'b', true],
    [['a//b'], 'a/b', true],
    [['/'], 'a', false],
    [['.'], 'a', false],
    [['../a'], 'a', false],
    // Everything, and the Dockerfile itself.
    [['*'], 'a', true],
    [['*'], 'Dockerfile', true],
    [['*'], '.dockerignore', true],
    [['*'], '.', false],
    [['**'], 'a/b', true],
    // Case counts.
    [['A'], 'a', false],
  ])('%j on %s: %s', (lines, path, expected) => expect(ignores(lines, path)).toBe(expected));

  it('is looked for beside the Dockerfile first', () => {
    expect(ignoreFileNames('deploy/web.Dockerfile')).toEqual(['deploy/web.Dockerfile.dockerignore', '.dockerignore']);
  });

  it.each([
    [['a', '[b'], '.dockerignore:2', 'syntax error in pattern "[b"'],
    [['!'], '.dockerignore:1', 'illegal exclusion pattern'],
    [['a\\'], '.dockerignore:1', 'syntax error in pattern'],
    [['[]a]'], '.dockerignore:1', 'syntax error in pattern'],
    [['[a-]'], '.dockerignore:1', 'syntax error in pattern'],
  ])('refuses %j at %s', (lines, field, why) => {
    try {
      ignores(lines, 'x');
      expect.unreachable();
    } catch (cause) {
      expect(toClusterError(cause)).toMatchObject({ code: 'invalid', field, message: expect.stringContaining(why) });
    }
  });

  it('with too many patterns is refused', () => {
    expect(() =>
      ignores(
        Array.from({ length: 10_001 }, (_, i) => `a${i}`),
        'x',
      ),
    ).toThrow('10001 patterns, more than 10000');
  });
});

describe('an ignored folder', () => {
  it.each([
    [['a'], 'a', true],
    [['a', '!a/b'], 'a', false],
    [['a', '!b'], 'a', true],
    [['a', '!**/x'], 'a', false],
    [['a', '!a*'], 'a', false],
    [['*', '!src/lib/x'], 'src', false],
    [['*', '!src/lib/x'], 'src/lib', false],
    [['*', '!src/lib/x'], 'src/other', true],
    [['b'], 'a', false],
  ])('by %j, %s, need not be looked into: %s', (lines, folder, expected) => {
    expect(ignoreOf(lines.join('\n'), 'x').isWhole(folder)).toBe(expected);
  });
});

describe('patterns', () => {
  it.each([
    // Source: moby/patternmatcher, patternmatcher_test.go.
    ['**', 'file', true],
    ['**', 'file/', true],
    ['**/**', 'file', true],
    ['dir/**', 'dir/file', true],
    ['dir/**', 'dir/dir2/file', true],
    ['dir/**', 'otherdir/file', false],
    ['dir/**', 'dir', false],
    ['**/dir2/*', 'dir/dir2/file', true],
    ['**/dir2/*', 'dir/dir2/dir2/file', true],
    ['**/dir2/**', 'dir/dir2/dir2/file', true],
    ['**file', 'file', true],
    ['**file', 'dir/file', true],
    ['**/file', 'dir/file', true],
    ['**/file', 'dir/dir/file', true],
    ['**/file*', 'dir/dir/file.txt', true],
    ['**/file*txt', 'dir/dir/file.txt', true],
    ['**/file*.txt*', 'dir/dir/file.txt', true],
    ['**/*.txt', 'dir/dir/file.go', false],
    ['**/**/*.txt', 'dir/dir/file.txt', true],
    ['**/**/*.txt2', 'dir/dir/file.txt', false],
    ['**/*.txt', 'file.txt', true],
    ['a**/*.txt', 'a/file.txt', true],
    ['a**/*.txt', 'a/dir/file.txt', true],
    ['a[b-d]e', 'ae', false],
    ['a[b-d]e', 'ace', true],
    ['a[b-d]e', 'aae', false],
    ['a[^b-d]e', 'aze', true],
    ['.*', '.foo', true],
    ['.*', 'foo', false],
    ['abc.def', 'abcdef', false],
    ['abc.def', 'abc.def', true],
    ['abc?def', 'abcZdef', true],
    ['abc?def', 'abcdef', false],
    ['a\\\\', 'a\\', true],
    ['**/foo/bar', 'foo/bar', true],
    ['**/foo/bar', 'dir/foo/bar', true],
    ['abc/**', 'abc', false],
    ['abc/**', 'abc/def', true],
    ['**/.foo', '.foo', true],
    ['**/.foo', 'bar.foo', false],
    ['a(b)c/def', 'a(b)c/def', true],
    ['a.|)$(}+{bc', 'a.|)$(}+{bc', true],
    // Source: Go, path/filepath/match_test.go.
    ['*', 'abc', true],
    ['*c', 'abc', true],
    ['a*', 'a', true],
    ['a*', 'ab/c', false],
    ['a*/b', 'abc/b', true],
    ['a*/b', 'a/c/b', false],
    ['a*b*c*d*e*/f', 'axbxcxdxe/f', true],
    ['a*b*c*d*e*/f', 'axbxcxdxexxx/fff', false],
    ['a*b?c*x', 'abxbbxdbxebxczzx', true],
    ['a*b?c*x', 'abxbbxdbxebxczzy', false],
    ['ab[c]', 'abc', true],
    ['ab[e-g]', 'abc', false],
    ['ab[^c]', 'abc', false],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'ab', false],
    ['a?b', 'a☺b', true],
    ['a[^a]b', 'a☺b', true],
    ['a???b', 'a☺b', false],
    ['[a-ζ]*', 'α', true],
    ['*[a-ζ]', 'A', false],
    ['a?b', 'a/b', false],
    ['a*b', 'a/b', false],
    ['[\\]a]', ']', true],
    ['[\\-x]', '-', true],
    ['[x\\-]', 'z', false],
    ['[!a]', '!', true],
    ['*x', 'xxx', true],
  ])('%s fits %s: %s', (pattern, path, expected) => expect(globOf(pattern).fits(path)).toBe(expected));

  it('take no time that grows with a power', () => {
    expect(globOf(`${'*a'.repeat(200)}b`).fits('a'.repeat(4_000))).toBe(false);
    expect(globOf(`${'**/a'.repeat(200)}b`).fits('a/'.repeat(2_000))).toBe(false);
  });

  it('fit themselves when they are plain', () => {
    const name = fc.stringMatching(/^[a-zA-Z0-9._-]+(?:\/[a-zA-Z0-9._-]+){0,3}$/);
    fc.assert(
      fc.property(name, (path) => {
        expect(globOf(path).fits(path)).toBe(true);
      }),
    );
  });

  it('of any text are read or refused', () => {
    const pieces = fc.constantFrom('*', '**', '?', '[', ']', '^', '-', '\\', '/', '!', '#', 'a', 'ä', '.', ' ', '\n');
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 20 }), fc.array(pieces, { maxLength: 20 }), (pattern, path) => {
        try {
          expect(typeof ignoreOfPatterns([pattern.join('')]).ignores(path.join(''))).toBe('boolean');
        } catch (cause) {
          expect(toClusterError(cause).code).toBe('invalid');
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
