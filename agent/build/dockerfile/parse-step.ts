/** One instruction's arguments, by the rules of its kind. */
import { type FlagKind, Flags } from './flags.ts';
import { flaw, type Place } from './flaw.ts';
import { type Arguments, commandOf, pathsOf, type Reading, stringsOf } from './forms.ts';
import type { Framed } from './frame.ts';
import { parseHealth } from './parse-health.ts';
import { parseRun } from './parse-run.ts';
import { parseTransfer } from './parse-transfer.ts';
import { quotedWords, spaced, splitInstruction } from './split.ts';
import type { Pair } from './steps.ts';
import type { Step, WrittenArg } from './written.ts';

type Content = Step extends infer Each ? (Each extends Step ? Omit<Each, 'span' | 'text'> : never) : never;

/** @throws ClusterError `invalid` naming the line */
export function parseContent(framed: Framed, reading: Reading): Content {
  const args: Arguments = { ...splitInstruction(framed.text), heredocs: framed.heredocs };
  const { keyword, flags, rest } = args;
  const { place } = reading;
  if (rest === '')
    throw flaw(place, `${keyword} requires at least one argument`, `write ${keyword} and what it is to do`);
  switch (keyword) {
    case 'RUN':
      return parseRun(args, reading);
    case 'COPY':
    case 'ADD':
      return parseTransfer(args, reading);
    case 'HEALTHCHECK':
      return { kind: 'healthcheck', check: parseHealth(args, reading) };
  }
  if (keyword !== 'ONBUILD') noFlags(keyword, flags, place);
  switch (keyword) {
    case 'ARG':
      return parseArg(rest, reading);
    case 'ENV':
      return { kind: 'env', pairs: pairsOf(keyword, rest, reading) };
    case 'LABEL':
      return { kind: 'label', pairs: pairsOf(keyword, rest, reading) };
    case 'WORKDIR':
      return { kind: 'workdir', word: rest };
    case 'USER':
      return { kind: 'user', word: rest };
    case 'STOPSIGNAL':
      return { kind: 'stopsignal', word: rest };
    case 'EXPOSE':
      return { kind: 'expose', words: spaced(rest) };
    case 'VOLUME':
      return { kind: 'volume', words: pathsOf(keyword, rest, reading) };
    case 'CMD':
      return { kind: 'cmd', command: commandOf(keyword, rest, reading) };
    case 'ENTRYPOINT':
      return { kind: 'entrypoint', command: commandOf(keyword, rest, reading) };
    case 'SHELL':
      return { kind: 'shell', argv: shellOf(rest, reading) };
    case 'ONBUILD':
      return { kind: 'onbuild', trigger: triggerOf(framed, reading) };
    default:
      reading.warn('MAINTAINER is deprecated: use LABEL org.opencontainers.image.authors=NAME');
      return { kind: 'maintainer', name: rest };
  }
}

function noFlags(keyword: string, flags: readonly string[], place: Place): void {
  const none: Readonly<Record<string, FlagKind>> = {};
  new Flags(keyword, flags, none, place);
}

function shellOf(rest: string, reading: Reading): readonly string[] {
  const argv = stringsOf('SHELL', rest, reading);
  if (argv === undefined) {
    throw flaw(reading.place, 'SHELL requires the arguments to be in JSON form', 'write SHELL ["/bin/bash", "-c"]');
  }
  if (argv.length === 0)
    throw flaw(reading.place, 'SHELL requires at least one argument', 'write SHELL ["/bin/bash", "-c"]');
  return argv;
}

/** `NAME[=DEFAULT]…` */
function parseArg(rest: string, { place, escape: sign }: Reading): WrittenArg {
  const args = quotedWords(rest, sign).map((word) => {
    const at = word.indexOf('=');
    if (at === 0) throw flaw(place, 'ARG names can not be blank', 'write ARG NAME=DEFAULT');
    return at === -1 ? { name: word } : { name: word.slice(0, at), value: word.slice(at + 1) };
  });
  return { kind: 'arg', args };
}

/** `NAME=VALUE…`, or the old `NAME VALUE` for one. Source: BuildKit, parser/line_parsers.go, parseNameVal. */
function pairsOf(keyword: string, rest: string, { place, escape: sign }: Reading): readonly Pair[] {
  const words = quotedWords(rest, sign);
  if (words[0]?.includes('=') !== true) {
    const match = /^(\S+)\s+([\s\S]+)$/.exec(rest);
    if (match === null) throw flaw(place, `${keyword} must have two arguments`, `write ${keyword} NAME=VALUE`);
    return [{ name: match[1] ?? '', value: match[2] ?? '' }];
  }
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at === -1) {
      throw flaw(
        place,
        `can't find = in "${word}", it must be of the form name=value`,
        'put a value with spaces into quotes',
      );
    }
    if (at === 0) throw flaw(place, `${keyword} names can not be blank`, `write ${keyword} NAME=VALUE`);
    return { name: word.slice(0, at), value: word.slice(at + 1) };
  });
}

/** The instruction behind ONBUILD, with its documents; proved now, though it runs in another build. */
function triggerOf(framed: Framed, reading: Reading): string {
  const text = framed.text.replace(/^\s*ONBUILD\s*/i, '');
  const { keyword } = splitInstruction(text);
  const { place } = reading;
  if (keyword === 'ONBUILD')
    throw flaw(place, "chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", 'write one ONBUILD');
  if (keyword === 'FROM' || keyword === 'MAINTAINER') {
    throw flaw(
      place,
      `${keyword} isn't allowed as an ONBUILD trigger`,
      'put it into the Dockerfile that builds on this image',
    );
  }
  if (!TRIGGERS.has(keyword))
    throw flaw(place, `unknown instruction: ${keyword}`, 'write an instruction behind ONBUILD');
  parseContent({ ...framed, text }, reading);
  // The documents go along, their ends by the names they are opened with.
  return [text, ...framed.heredocs.map(({ name, content }) => `${content}${name}`)].join('\n');
}

const TRIGGERS: ReadonlySet<string> = new Set(
  'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL RUN SHELL STOPSIGNAL USER VOLUME WORKDIR'.split(' '),
);
