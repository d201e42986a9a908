/** The flags of one instruction, held against those it knows. Source: BuildKit, instructions/bflag.go. */
import { flaw, type Place, suggestion } from './flaw.ts';

/** `text` needs a value, `texts` may come several times, `switch` stands alone or has true or false. */
export type FlagKind = 'text' | 'texts' | 'switch';

/** Flags that Docker has and we have not, with the reason. */
const REFUSED: Readonly<Record<string, string>> = {
  'RUN --security': 'a RUN has the rights of a container; there is no insecure mode',
  'RUN --device': 'devices are not given to a build',
  'ADD --keep-git-dir': 'git repositories are not fetched; clone in a RUN, or put the files into the build context',
};

export class Flags {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  /** @throws ClusterError `invalid`: a flag nobody knows, twice the same, without its value */
  constructor(keyword: string, flags: readonly string[], known: Readonly<Record<string, FlagKind>>, place: Place) {
    const values = new Map<string, string[]>();
    for (const flag of flags) {
      const at = flag.indexOf('=');
      const name = at === -1 ? flag.slice(2) : flag.slice(2, at);
      const kind = Object.hasOwn(known, name) ? known[name] : undefined;
      if (kind === undefined) throw unknown(keyword, name, Object.keys(known), place);
      if (values.has(name) && kind !== 'texts') throw flaw(place, `duplicate flag specified: --${name}`, 'remove one');
      values.set(name, [...(values.get(name) ?? []), valueFrom(flag, at, kind, place)]);
    }
    this.#values = values;
  }

  text(name: string): string | undefined {
    return this.#values.get(name)?.[0];
  }

  texts(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  isOn(name: string): boolean {
    return this.text(name) === 'true';
  }
}

function unknown(keyword: string, name: string, known: readonly string[], place: Place): Error {
  const refused = REFUSED[`${keyword} --${name}`];
  if (refused !== undefined) return flaw(place, `--${name} of ${keyword} is not supported`, refused);
  const all =
    known.length === 0 ? `${keyword} takes no flags` : `${keyword} takes ${known.map((each) => `--${each}`).join(' ')}`;
  return flaw(place, `unknown flag: --${name}${suggestion(name, known)}`, all);
}

function valueFrom(flag: string, at: number, kind: FlagKind, place: Place): string {
  const value = at === -1 ? undefined : flag.slice(at + 1);
  if (kind !== 'switch') {
    if (value === undefined) throw flaw(place, `missing a value on flag: ${flag}`, `write ${flag}=VALUE`);
    return value;
  }
  const lower = (value ?? 'true').toLowerCase();
  if (lower === 'true' || lower === 'false') return lower;
  throw flaw(place, `expecting a boolean value for flag ${flag.slice(0, at)}, not: ${value}`, 'write true or false');
}
