/**
 * PAX records: how they are written, which of a header's and of the archive's hold, and what they say of an entry beyond names
 * and numbers. Source: POSIX.1-2017 pax, "pax Extended Header"; star(1), SCHILY.*;
 * GNU tar manual, "Storing Sparse Files".
 */
import type { Time, Xattr } from './tar.ts';

export type PaxRecord = readonly [key: string, value: string];

/** `LENGTH KEY=VALUE\n`, one after the other, as byte strings; undefined when they are malformed. */
export function paxRecords(body: Buffer): readonly PaxRecord[] | undefined {
  const records: PaxRecord[] = [];
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const digits = space === -1 ? '' : body.toString('latin1', at, Math.min(space, at + 10));
    const length = /^[1-9]\d*$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    if (length < 5 || end > body.length || body[end - 1] !== 0x0a) return undefined;
    const record = body.toString('latin1', space + 1, end - 1);
    const equals = record.indexOf('=');
    if (equals < 1) return undefined;
    records.push([record.slice(0, equals), record.slice(equals + 1)]);
    at = end;
  }
  return records;
}

/** The records that hold for one entry: its own over the archive's. */
export class PaxRecords {
  readonly #held: Map<string, string>;
  /** Offsets and sizes of the sparse format 0.0, which repeats two keys, in their order. */
  readonly pieces: string[] = [];

  /** @param global  what the archive said for all entries to come */
  constructor(global: ReadonlyMap<string, string>) {
    this.#held = new Map(global);
  }

  add(records: readonly PaxRecord[]): void {
    for (const [key, value] of records) {
      if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') this.pieces.push(value);
      else put(this.#held, key, value);
    }
  }

  get(key: string): string | undefined {
    return this.#held.get(key);
  }

  get all(): ReadonlyMap<string, string> {
    return this.#held;
  }
}

/** What a global header says, from now on. Maps of sparse files are one entry's, whoever says otherwise. */
export function putGlobals(global: Map<string, string>, records: readonly PaxRecord[]): void {
  for (const [key, value] of records) if (!key.startsWith('GNU.sparse.')) put(global, key, value);
}

/** An empty value takes back what was said before, but an attribute may be empty. */
function put(into: Map<string, string>, key: string, value: string): void {
  if (value !== '' || PREFIXES.some((each) => key.startsWith(each))) into.set(key, value);
  else into.delete(key);
}

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
