import { describe, expect, it } from 'vitest';
import { flawOf, parse, shell, steps, wrong } from '../../../support/dockerfile.ts';

describe('directives', () => {
  it.each([
    ['# syntax=docker/dockerfile:1.4\nFROM a\nRUN b \\\n c', '\\'],
    ['# escape=`\nFROM a\nRUN b `\n c', '`'],
    ['# ESCAPE = ` \nFROM a', '`'],
    ['#escape=`\nFROM a', '`'],
    ['\uFEFF# escape=`\nFROM a', '`'],
    ['# syntax=x\n# check=skip=all\n# escape=`\nFROM a', '`'],
    ['# a comment ends them\n# escape=`\nFROM a', '\\'],
    ['\n# escape=`\nFROM a', '\\'],
    ['# unknown=1\n# escape=`\nFROM a', '\\'],
    ['FROM a\n# escape=`', '\\'],
  ])('reads the escape of %j as %j', (text, sign) => expect(parse(text).escape).toBe(sign));

  it.each([
    ['# escape=x\nFROM a', "line 1: invalid escape token 'x' does not match ` or \\"],
    ['# escape=`\n# escape=`\nFROM a', 'line 2: only one escape parser directive can be used'],
    ['# syntax=a\n# SYNTAX=b\nFROM a', 'line 2: only one syntax parser directive can be used'],
  ])('refuses %j', (text, why) => expect(flawOf(text)).toContain(why));
});

describe('lines', () => {
  it.each([
    ['RUN a \\\n  b', 'a   b'],
    ['RUN a \\  \n b', 'a  b'],
    ['RUN a \\\n# a comment\n  # another\n b', 'a  b'],
    ['RUN a \\\n# continued \\\n b', 'a  b'],
    ['RUN a \\\n\n b', 'a  b'],
    ['RUN a \\\r\n b\r', 'a  b'],
    ['RUN a # no comment', 'a # no comment'],
    ['  \tRUN a', 'a'],
    ['run a', 'a'],
    ['rUn a', 'a'],
    ['RU\\\nN a', 'a'],
    ['RUN\\\n a', 'a'],
    ['RUN a \\', 'a'],
    ['\\\nRUN a', 'a'],
    ['RUN echo a\\\\', 'echo a\\\\'],
    ['RUN\ta', 'a'],
    ['RUN ä 😀', 'ä 😀'],
  ])('reads %j as one RUN', (text, line) => {
    expect(steps(text)).toEqual([{ kind: 'run', command: shell(line), mounts: [], network: 'default' }]);
  });

  it('does not continue a line that ends in an escaped escape', () => {
    expect(
      steps('RUN echo a\\\\', 'USER b', 'RUN c\\\\', 'USER d').map((step) => (step as { kind: string }).kind),
    ).toEqual(['run', 'user', 'run', 'user']);
  });

  it('continues by the escape of the directive alone', () => {
    const { stages } = parse('# escape=`\nFROM a\nCOPY a c:\\\nRUN b `\n c');
    expect(stages[0]?.steps.map((step) => step.text)).toEqual(['COPY a c:\\', 'RUN b  c']);
  });

  it('says where each instruction stands', () => {
    const { stages } = parse('FROM a\n\n# x\nRUN a \\\n b\nUSER c\nRUN <<E\nx\nE\n');
    expect(stages[0]?.steps.map((step) => step.span)).toEqual([
      { line: 4, endLine: 5 },
      { line: 6, endLine: 6 },
      { line: 7, endLine: 9 },
    ]);
  });

  it('warns of empty continuation lines', () => {
    expect(parse('FROM a\nRUN b \\\n\n c').warnings).toEqual([
      'Dockerfile:2: empty continuation line: Docker will refuse it one day; remove it',
    ]);
  });

  it.each(['', '\n\n', '# only comments\n'])('refuses a file without instructions: %j', (text) => {
    expect(flawOf(text)).toContain('file with no instructions');
  });

  it('refuses more instructions than anybody writes', () => {
    expect(flawOf(`FROM a\n${'RUN b\n'.repeat(2_048)}`)).toContain('more than 2048 instructions');
  });

  it('refuses a file that is too large', () => {
    expect(flawOf(`FROM a\n${'#'.repeat(300_000)}`)).toContain('300007 characters, more than 262144');
  });
});

describe('documents', () => {
  const run = (...lines: readonly string[]) => (steps(...lines)[0] as { command: unknown; script?: unknown }) ?? {};

  it('makes a document alone the line of the shell', () => {
    expect(run('RUN <<EOF', 'a', '# not a comment', 'FROM b \\', '', 'EOF')).toMatchObject({
      command: shell('a\n# not a comment\nFROM b \\\n\n'),
    });
  });

  it('makes a document with #! a program', () => {
    expect(run('RUN <<EOF', '#!/usr/bin/env awk', 'x', 'EOF')).toMatchObject({
      command: shell('/dev/pipes/EOF'),
      script: { name: 'EOF', content: '#!/usr/bin/env awk\nx\n' },
    });
  });

  it.each([
    [['RUN cat <<A - <<B', '1', 'A', '2', 'B'], 'cat <<A - <<B\n1\nA\n2\nB'],
    [['RUN cat 3<<EOF', '1', 'EOF'], 'cat 3<<EOF\n1\nEOF'],
    [['RUN cat << EOF', '1', 'EOF'], 'cat << EOF\n1\nEOF'],
    [['RUN cat <<"EOF"', '$x', 'EOF'], 'cat <<"EOF"\n$x\nEOF'],
    [['RUN cat <<-EOF', '\t1', '\tEOF'], 'cat <<-EOF\n1\nEOF'],
    [['RUN <<-EOF', '\t\t1', '\t 2', '\tEOF'], '1\n 2\n'],
    [['RUN cat <<EOF && \\', ' true', '1', 'EOF'], 'cat <<EOF &&  true\n1\nEOF'],
    [['RUN --network=none <<EOF', '1', 'EOF'], '1\n'],
    [['RUN <<E"O"F', '1', 'EOF'], '1\n'],
    [['RUN <<EOF', 'EOF'], ''],
    [['RUN <<EOF', '1\r', 'EOF\r'], '1\r\n'],
  ])('reads %j', (lines, line) => expect(run(...lines)).toMatchObject({ command: shell(line) }));

  it.each([
    'RUN cat <<< EOF',
    'RUN cat<<EOF',
    'RUN echo "<<EOF"',
    "RUN echo '<<EOF'",
    'RUN echo $((1<<2)) $((1 << 2))',
    'ENV A=<<EOF',
  ])('opens none in %j', (line) => expect(steps(line, 'USER x')).toHaveLength(2));

  it('opens none in the JSON form', () => {
    expect(steps('RUN ["cat", "<<EOF"]', 'USER x')).toHaveLength(2);
  });

  it('gives COPY its files', () => {
    expect(steps('COPY <<a <<"b" c /d/', '$x', 'a', '$y', 'b')).toMatchObject([
      {
        kind: 'copy',
        sources: ['c'],
        documents: [
          { name: 'a', content: '$x\n', expand: true },
          { name: 'b', content: '$y\n', expand: false },
        ],
        dest: '/d/',
      },
    ]);
  });

  it('goes along with ONBUILD', () => {
    expect(steps('ONBUILD RUN <<EOF', 'a', 'EOF')).toEqual([{ kind: 'onbuild', trigger: 'RUN <<EOF\na\nEOF' }]);
  });

  it.each([
    [['RUN <<EOF', 'a'], 'lines 2-3: unterminated heredoc'],
    [['COPY a <<EOF', 'x', 'EOF'], 'COPY cannot accept a heredoc as a destination'],
    [['COPY <<a/b /c', 'x', 'a/b'], '"a/b" is no name for a file'],
    [['COPY --from=x <<a /c', 'x', 'a'], 'COPY --from cannot copy a heredoc'],
  ])('refuses %j', (lines, why) => expect(wrong(...lines)).toContain(why));
});
