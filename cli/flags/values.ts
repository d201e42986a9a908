/** Values of flags as people write them: numbers, words, ports, key=value lists, command lines. */
import { readFileSync } from 'node:fs';
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { Port } from '../../common/model/service.ts';

/** Refuses what was given to a flag. */
export function refuse(flag: string, message: string, hint?: string): never {
  throw new ClusterError('invalid', message, hint === undefined ? { field: flag } : { field: flag, hint });
}

/** Gathers a flag that may be repeated. */
export function collected(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

/** A whole number from 0. */
export function wholeNumber(text: string, flag: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(number)) return number;
  return refuse(flag, `"${text}" is not a whole number from 0`);
}

/** A ratio from 0 to 1. */
export function ratio(text: string, flag: string): number {
  const number = Number(text);
  if (text.trim() !== '' && number >= 0 && number <= 1) return number;
  return refuse(flag, `"${text}" is not a ratio from 0 to 1`);
}

/** One of a few words. */
export function word<W extends string>(text: string, words: readonly W[], flag: string): W {
  const found = words.find((one) => one === text);
  return found ?? refuse(flag, `"${text}" is not known`, `use ${words.join(', ')}`);
}

/** `KEY=value` lists as a record; `KEY` alone is `KEY=`. Later ones win. */
export function keyValues(items: readonly string[]): Record<string, string> {
  const record: Record<string, string> = {};
  for (const item of items) {
    const at = item.indexOf('=');
    if (at < 0) record[item] = '';
    else record[item.slice(0, at)] = item.slice(at + 1);
  }
  return record;
}

/** `-e KEY=value`; `-e KEY` takes the value from our own environment and is dropped when it is not set there. */
export function environment(items: readonly string[], own: NodeJS.ProcessEnv): string[] {
  return items.flatMap((item) => {
    if (item.includes('=')) return [item];
    const value = own[item];
    return value === undefined ? [] : [`${item}=${value}`];
  });
}

/** Lines of an `--env-file`; empty lines and those that begin with `#` are comments. */
export function environmentFile(path: string, own: NodeJS.ProcessEnv): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    return refuse('--env-file', `cannot read ${path}: ${messageOf(cause)}`);
  }
  const lines = text
    .replace(/^﻿/, '')
    .split(/\r?\n/)
    .map((line) => line.trimStart());
  const kept = lines.filter((line) => line !== '' && !line.startsWith('#'));
  for (const line of kept) {
    const name = line.split('=')[0] ?? '';
    if (name === '' || /\s/.test(name)) refuse('--env-file', `${path}: "${line}" has no usable variable name`);
  }
  return environment(kept, own);
}

const RANGE = /^(\d+)(?:-(\d+))?$/;

function range(text: string, flag: string): readonly number[] {
  const match = RANGE.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || first < 1 || last > 65_535 || last < first) {
    return refuse(flag, `"${text}" is not a port or a range of ports from 1 to 65535`);
  }
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** Docker's `--publish`: `[published:]target[/protocol]` with ranges, or `published=…,target=…,protocol=…,mode=…`. */
export function ports(text: string, flag: string): readonly Port[] {
  return text.includes('=') ? longPort(text, flag) : shortPorts(text, flag);
}

function shortPorts(text: string, flag: string): readonly Port[] {
  const [pair = '', proto = 'tcp', ...rest] = text.split('/');
  const parts = pair.split(':');
  if (rest.length > 0) return refuse(flag, `"${text}" is not a port`, 'write it like 8080:80 or 53:53/udp');
  if (parts.length > 2)
    return refuse(flag, `"${text}" names a host address, which services cannot`, 'write it like 8080:80');
  const protocol = word(proto, ['tcp', 'udp'], flag);
  const targets = range(parts[parts.length - 1] ?? '', flag);
  const published = parts.length === 2 ? range(parts[0] ?? '', flag) : targets.map(() => 0);
  if (published.length !== targets.length) return refuse(flag, `the ranges of "${text}" are of different length`);
  return targets.map((target, i) => ({ protocol, target, published: published[i] ?? 0, mode: 'ingress' as const }));
}

function longPort(text: string, flag: string): readonly Port[] {
  const fields = keyValues(text.split(','));
  for (const key of Object.keys(fields)) {
    if (!['target', 'published', 'protocol', 'mode'].includes(key)) {
      refuse(flag, `unknown key "${key}" in "${text}"`, 'known: target, published, protocol, mode');
    }
  }
  const [target] = range(fields.target ?? '', flag);
  const given = fields.published;
  const [published = 0] = given === undefined || given === '0' ? [0] : range(given, flag);
  const protocol = word(fields.protocol ?? 'tcp', ['tcp', 'udp'], flag);
  return [
    { protocol, target: target ?? 0, published, mode: word(fields.mode ?? 'ingress', ['ingress', 'host'], flag) },
  ];
}

/** A command line as a shell splits it: blanks, quotes and backslashes, nothing else. */
export function words(line: string, flag: string): string[] {
  const found: string[] = [];
  let current: string | undefined;
  let quote = '';
  for (let i = 0; i < line.length; i += 1) {
    const c = line[i] ?? '';
    if (c === '\\' && quote !== "'") {
      i += 1;
      current = (current ?? '') + (line[i] ?? '');
    } else if (quote !== '') {
      if (c === quote) quote = '';
      else current = (current ?? '') + c;
    } else if (c === '"' || c === "'") {
      quote = c;
      current ??= '';
    } else if (/\s/.test(c)) {
      if (current !== undefined) found.push(current);
      current = undefined;
    } else current = (current ?? '') + c;
  }
  if (quote !== '') return refuse(flag, `a quote is not closed in: ${line}`);
  return current === undefined ? found : [...found, current];
}
