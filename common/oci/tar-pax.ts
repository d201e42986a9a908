/** What PAX records say of an entry beyond names and numbers. Source: POSIX.1-2017 pax, "pax Extended Header"; star(1), SCHILY.*. */
import type { Time, Xattr } from './tar.ts';

const PREFIXES = ['SCHILY.xattr.', 'LIBARCHIVE.xattr.'];

/** Extended attributes, values as byte strings. */
export function attributesOf(pax: ReadonlyMap<string, string>): readonly Xattr[] {
  if (pax.size === 0) return [];
  const found = new Map<string, string>();
  for (const [key, value] of pax) {
    const prefix = PREFIXES.find((each) => key.startsWith(each));
    if (prefix === undefined) continue;
    const name = key.slice(prefix.length);
    // libarchive writes names as URL text and values in base64, beside star's plain ones, which win.
    if (prefix === PREFIXES[0]) found.set(name, value);
    else if (!found.has(name)) found.set(name, Buffer.from(value, 'base64').toString('latin1'));
  }
  return [...found];
}

/** `SECONDS[.FRACTION]`, possibly negative; undefined when absent or no time. */
export function timeOf(text: string | undefined): Time | undefined {
  const match = text === undefined ? null : /^(-?)(\d{1,15})(?:\.(\d{0,30}))?$/.exec(text);
  if (match === null) return undefined;
  const seconds = Number(match[2]);
  const nanos = Number((match[3] ?? '').padEnd(9, '0').slice(0, 9));
  if (match[1] === '') return { seconds, nanos };
  return nanos === 0 ? { seconds: -seconds, nanos: 0 } : { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos };
}
