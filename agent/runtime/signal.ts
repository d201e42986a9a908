/** Signals by the names users write. */
import { constants } from 'node:os';
import { ClusterError } from '../../common/errors.ts';

const HIGHEST = 64;

/** `SIGTERM`, `term` and `15` are 15; empty is SIGTERM. @throws ClusterError `invalid` */
export function signalNumber(text: string): number {
  if (text === '') return constants.signals.SIGTERM;
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= HIGHEST) return number;
  }
  const name = text.toUpperCase();
  const known: Readonly<Record<string, number | undefined>> = constants.signals;
  const number = known[name.startsWith('SIG') ? name : `SIG${name}`];
  if (number !== undefined) return number;
  throw new ClusterError('invalid', `"${text}" is no signal`, {
    field: 'stopSignal',
    hint: 'write SIGTERM, TERM or 15',
  });
}
