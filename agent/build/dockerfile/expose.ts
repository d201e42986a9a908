/** The ports of EXPOSE: `80`, `80/tcp`, `8000-8005/udp`. */
import { ClusterError } from '../../../common/errors.ts';

/** More ports in one range are nobody's intent, and a config lists each of them. */
const RANGE_MAX = 4_096;

/** `80/tcp` for each port of a word. @throws ClusterError `invalid` */
export function portsOf(word: string): readonly string[] {
  const wrong = (why: string): ClusterError =>
    new ClusterError('invalid', `EXPOSE ${word}: ${why}`, {
      hint: 'write PORT, PORT/udp or FIRST-LAST, each from 1 to 65535',
    });
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/([a-zA-Z]+))?$/.exec(word);
  if (match === null)
    throw wrong(word.includes(':') ? 'a port of the host is chosen at run, not here' : 'it is no port');
  const first = Number(match[1]);
  const last = Number(match[2] ?? first);
  const protocol = (match[3] ?? 'tcp').toLowerCase();
  if (protocol !== 'tcp' && protocol !== 'udp') throw wrong(`"${protocol}" is neither tcp nor udp`);
  if (first < 1 || last > 65_535 || last < first) throw wrong('it is no range of ports');
  if (last - first >= RANGE_MAX) throw wrong(`more than ${RANGE_MAX} ports`);
  return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}/${protocol}`);
}
