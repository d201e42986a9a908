/** Signals by the names users write. */
import { constants } from 'node:os';
import { ClusterError } from '../../common/errors.ts';

const HIGHEST = 64;
/** The first that glibc leaves to programs; images say `SIGRTMIN+3` to stop systemd. Source: signal(7), "Real-time signals". */
const RT_MIN = 34;

/** `SIGTERM`, `term` and `15` are 15, `SIGRTMIN+3` is 37; empty is SIGTERM. @throws ClusterError `invalid` */
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
  const realTime = /^(?:SIG)?RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realTime !== null) {
    const [, end, sign = '', by = '0'] = realTime;
    const counted = (end === 'MIN' ? RT_MIN : HIGHEST) + (sign === '-' ? -1 : 1) * Number(by);
    if (counted >= RT_MIN && counted <= HIGHEST) return counted;
  }
  throw new ClusterError('invalid', `"${text}" is no signal`, {
    field: 'stopSignal',
    hint: 'write SIGTERM, TERM or 15',
  });
}
