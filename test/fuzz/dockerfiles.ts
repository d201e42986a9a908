/** The Dockerfile door: whatever text comes in is planned and its config worked out, or refused. */

import { readCorpus } from '../support/dockerfile-corpus.ts';
import { openDockerfile } from '../support/dockerfile-door.ts';
import type { Target } from './target.ts';

export const dockerfiles: Target = {
  name: 'dockerfile',
  seeds: () => readCorpus().map((each) => Buffer.from(each.dockerfile)),
  words: [
    ...'FROM RUN COPY ADD ENV ARG LABEL USER WORKDIR EXPOSE VOLUME CMD ENTRYPOINT SHELL STOPSIGNAL HEALTHCHECK ONBUILD'
      .split(' ')
      .map((keyword) => `\n${keyword} `),
    ...['--from=', '--chmod=', '--mount=type=cache,target=/x', '--network=none', '--exclude=', '--interval=1s', ' AS '],
    ...['<<EOF', '<<-"EOF"', '\nEOF\n', '\\\n', '`\n', '# escape=`\n', '# syntax=', '\r\n', '\uFEFF', '\u00a0'],
    ...[
      '["',
      '"]',
      '", "',
      "'",
      '"',
      '$a',
      '$' + '{a:-',
      '$' + '{a%%*',
      '$' + '{a//',
      '}',
      '=',
      '**',
      '[a-z]',
      '80/udp',
      'u+x',
    ],
  ],
  bytesMax: 20_000,
  run: (bytes) => {
    openDockerfile(bytes.toString('utf8'));
  },
};
