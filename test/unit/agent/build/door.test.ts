import fc from 'fast-check';
import { expect, it } from 'vitest';
import { openDockerfile } from '../../../support/dockerfile-door.ts';

const words = fc.constantFrom(
  ...'FROM RUN COPY ADD ENV ARG LABEL USER WORKDIR EXPOSE VOLUME CMD ENTRYPOINT SHELL STOPSIGNAL HEALTHCHECK ONBUILD MAINTAINER'.split(
    ' ',
  ),
  ...'scratch AS x --from=x --mount=type=cache,target=/a --chmod=u+x a=1 $a /b ["a"] [ ] " \' \\ ` # $ { } <<E <<-E E 80/tcp NONE'.split(
    ' ',
  ),
  '\n',
  '\n',
  '\n',
  ' ',
  ' ',
  '\t',
  '\r\n',
  '\\\n',
  '\u00a0',
  '# escape=`\n',
);

it('makes a plan of every text, or says what is wrong with it', () => {
  fc.assert(
    fc.property(fc.array(words, { maxLength: 60 }), (parts) => {
      expect(['planned', 'refused']).toContain(openDockerfile(parts.join('')));
    }),
    { numRuns: 3_000 },
  );
});

it('makes a plan of every text that begins well, or says what is wrong with it', () => {
  fc.assert(
    fc.property(fc.array(words, { maxLength: 40 }), (parts) => {
      expect(['planned', 'refused']).toContain(openDockerfile(`FROM scratch\n${parts.join(' ')}`));
    }),
    { numRuns: 2_000 },
  );
});

it.each([
  ['many instructions', 'FROM a\n', 'RUN a\n', 40_000],
  ['many comments', 'FROM a\n', '# a\n', 60_000],
  ['one long instruction', 'FROM a\nRUN ', 'a \\\n', 60_000],
  ['lines that end in escaped escapes', 'FROM a\n', 'RUN a\\\\\n', 25_000],
  ['documents', 'FROM a\n', 'RUN <<A\nA\n', 20_000],
  ['quotes without end', 'FROM a\nRUN ', '"<<', 80_000],
  ['returns', 'FROM a\nRUN ', '\r', 250_000],
  ['braces', 'FROM a\nENV x=', '$' + '{x:-', 40_000],
  ['flags', 'FROM a\nRUN ', '--mount=a ', 20_000],
  ['stages', '', 'FROM a\n', 30_000],
  ['stages upon each other', 'FROM a AS x\n', 'FROM x\nCOPY --from=0 a b\n', 8_000],
])('ends soon with %s', (_, head, part, count) => {
  expect(['planned', 'refused']).toContain(openDockerfile(head + part.repeat(count)));
});
