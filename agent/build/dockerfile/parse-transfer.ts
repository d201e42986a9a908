/** COPY and ADD: sources, documents, destination, flags. */
import { type FlagKind, Flags } from './flags.ts';
import { flaw, type Place } from './flaw.ts';
import { type Arguments, pathsOf, type Reading } from './forms.ts';
import { openerOf } from './heredoc.ts';
import type { Heredoc } from './steps.ts';
import type { WrittenTransfer } from './written.ts';

const BOTH: Readonly<Record<string, FlagKind>> = { chown: 'text', chmod: 'text', link: 'switch', exclude: 'texts' };
const OF_COPY: Readonly<Record<string, FlagKind>> = { ...BOTH, from: 'text', parents: 'switch' };
const OF_ADD: Readonly<Record<string, FlagKind>> = { ...BOTH, checksum: 'text', unpack: 'switch' };

export function parseTransfer(args: Arguments, reading: Reading): WrittenTransfer {
  const { keyword, heredocs } = args;
  const { place } = reading;
  const kind = keyword === 'COPY' ? 'copy' : 'add';
  const flags = new Flags(keyword, args.flags, kind === 'copy' ? OF_COPY : OF_ADD, place);
  const words = pathsOf(keyword, args.rest, reading);
  const dest = words.at(-1);
  if (dest === undefined || words.length < 2) {
    throw flaw(
      place,
      `${keyword} requires at least two arguments, but only ${words.length} provided`,
      `write ${keyword} SOURCE… DESTINATION`,
    );
  }
  const opens = (word: string): boolean => heredocs.length > 0 && openerOf(word) !== undefined;
  if (opens(dest))
    throw flaw(place, `${keyword} cannot accept a heredoc as a destination`, 'write the destination last');
  const from = flags.text('from');
  if (from !== undefined) provedFrom(from, heredocs, place);
  const unpack = flags.text('unpack');
  return {
    kind,
    sources: words.slice(0, -1).filter((word) => !opens(word)),
    documents: heredocs.map((each) => fileName(each, place)),
    dest,
    ...optional('from', from),
    ...optional('chown', flags.text('chown')),
    ...optional('chmod', flags.text('chmod')),
    ...optional('checksum', flags.text('checksum')),
    ...(unpack === undefined ? {} : { unpack: unpack === 'true' }),
    link: flags.isOn('link'),
    parents: flags.isOn('parents'),
    exclude: flags.texts('exclude'),
  };
}

function provedFrom(from: string, heredocs: readonly Heredoc[], place: Place): void {
  if (from === '') throw flaw(place, 'COPY --from is blank', 'name a stage or an image');
  if (/\$./.test(from)) {
    throw flaw(
      place,
      'variable expansion is not supported for --from',
      'define a stage: FROM the variable AS NAME, and copy from NAME',
    );
  }
  if (heredocs.length > 0)
    throw flaw(place, 'COPY --from cannot copy a heredoc', 'copy the heredoc in a COPY of its own');
}

function fileName(document: Heredoc, place: Place): Heredoc {
  if (!document.name.includes('/') && document.name !== '.' && document.name !== '..') return document;
  throw flaw(place, `"${document.name}" is no name for a file`, 'put the folder into the destination');
}

function optional<Name extends string>(name: Name, value: string | undefined): { readonly [key in Name]?: string } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [key in Name]: string });
}
