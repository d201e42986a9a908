/** HEALTHCHECK: a command with its times, or none. */
import { ClusterError } from '../../../common/errors.ts';
import { parseDuration } from '../../../common/units.ts';
import { Flags } from './flags.ts';
import { flaw, type Place } from './flaw.ts';
import { type Arguments, commandOf, type Reading } from './forms.ts';
import type { BuildHealth } from './steps.ts';

const TIMES = {
  interval: 'intervalMs',
  timeout: 'timeoutMs',
  'start-period': 'startPeriodMs',
  'start-interval': 'startIntervalMs',
} as const;
const RETRIES_MAX = 2 ** 31 - 1;

export function parseHealth({ flags, rest }: Arguments, reading: Reading): BuildHealth {
  const { place } = reading;
  const match = /^(\S+)\s*([\s\S]*)$/.exec(rest);
  const type = (match?.[1] ?? '').toUpperCase();
  const line = match?.[2] ?? '';
  if (type === 'NONE') {
    new Flags('HEALTHCHECK NONE', flags, {}, place);
    if (line !== '') throw flaw(place, 'HEALTHCHECK NONE takes no arguments', 'write HEALTHCHECK NONE alone');
    return { kind: 'none' };
  }
  if (type !== 'CMD')
    throw flaw(place, `unknown type "${type}" in HEALTHCHECK (try CMD)`, 'write HEALTHCHECK CMD COMMAND');
  if (line === '') throw flaw(place, 'missing command after HEALTHCHECK CMD', 'write HEALTHCHECK CMD COMMAND');
  const known = {
    interval: 'text',
    timeout: 'text',
    'start-period': 'text',
    'start-interval': 'text',
    retries: 'text',
  } as const;
  const read = new Flags('HEALTHCHECK', flags, known, place);
  const times = Object.entries(TIMES).flatMap(([flag, field]) => {
    const ms = timeOf(flag, read.text(flag), place);
    return ms === 0 ? [] : [[field, ms] as const];
  });
  const retries = retriesOf(read.text('retries'), place);
  return {
    kind: 'command',
    command: commandOf('HEALTHCHECK', line, reading),
    ...Object.fromEntries(times),
    ...(retries === 0 ? {} : { retries }),
  };
}

/** 0 = not said. Source: BuildKit, parseOptInterval; docker/api, MinimumDuration. */
function timeOf(flag: string, text: string | undefined, place: Place): number {
  if (text === undefined || text === '') return 0;
  try {
    const ms = parseDuration(text, flag);
    // Rounding up makes a millisecond of anything: what was asked for is looked at again.
    if (ms === 1 && /^[\d.]*(?:ns|us|µs)$/.test(text)) throw new ClusterError('invalid', 'cannot be less than 1ms');
    return ms;
  } catch (cause) {
    if (!(cause instanceof ClusterError)) throw cause;
    throw flaw(place, `--${flag}: ${cause.message}`, 'write it like 10s, 1m30s or 250ms, at least 1ms');
  }
}

function retriesOf(text: string | undefined, place: Place): number {
  if (text === undefined || text === '') return 0;
  const retries = Number(text);
  if (/^\d+$/.test(text) && retries <= RETRIES_MAX) return retries;
  throw flaw(place, `--retries: "${text}" is no number of tries`, 'write a whole number, such as 3');
}
