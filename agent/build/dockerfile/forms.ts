/** Commands and paths in either form, words or JSON, and what instructions are read with. */
import { flaw, type Place } from './flaw.ts';
import { jsonList } from './json-form.ts';
import { spaced } from './split.ts';
import type { Command, Heredoc } from './steps.ts';

/** What parts of an instruction are read with. */
export interface Reading {
  readonly place: Place;
  readonly escape: string;
  readonly warn: (why: string) => void;
}

/** An instruction without its keyword. */
export interface Arguments {
  readonly keyword: string;
  readonly flags: readonly string[];
  readonly rest: string;
  readonly heredocs: readonly Heredoc[];
}

/** A command in either form. */
export function commandOf(keyword: string, rest: string, reading: Reading): Command {
  const argv = stringsOf(keyword, rest, reading);
  return argv === undefined ? { form: 'shell', line: rest } : { form: 'exec', argv };
}

/** The strings of the JSON form; undefined for the other one. @throws ClusterError `invalid` for a list of other things */
export function stringsOf(keyword: string, rest: string, { place, warn }: Reading): readonly string[] | undefined {
  const list = jsonList(rest);
  if (list === undefined) return undefined;
  const words = list.words.filter((word) => typeof word === 'string');
  if (words.length < list.words.length) {
    throw flaw(place, `${keyword} in JSON form takes a list of strings`, 'put each word into double quotes');
  }
  if (list.rest !== '')
    warn(`what follows the JSON list is ignored: "${list.rest.slice(0, 60)}"; join it with &&, in shell form`);
  return words;
}

/** Paths in either form. */
export function pathsOf(keyword: string, rest: string, reading: Reading): readonly string[] {
  return stringsOf(keyword, rest, reading) ?? spaced(rest);
}
