/** `--mount` of a RUN. Source: Dockerfile reference, "RUN --mount"; BuildKit, instructions/commands_runmount.go. */

import { baseName, cleanPath, joinPath } from '../../../common/context/paths.ts';
import { messageOf } from '../../../common/errors.ts';
import { parseBytes } from '../../../common/units.ts';
import { flaw, type Place, suggestion } from './flaw.ts';
import type { Mount, Source } from './steps.ts';

export interface MountRead {
  readonly place: Place;
  expand(word: string): string;
  /** What `from=` names. */
  sourceOf(from: string): Source;
  /** Values still have their variables: only what does not depend on them is proved. */
  readonly isProof: boolean;
  /** Relative targets begin here. Absent = `/`. */
  readonly workdir?: string;
}

const KEYS: readonly string[] =
  'type from source src target dst destination readonly ro readwrite rw required size id sharing mode uid gid env'.split(
    ' ',
  );
const TYPES = ['bind', 'cache', 'tmpfs', 'secret', 'ssh'] as const;
type Type = (typeof TYPES)[number];
const ALIAS: Readonly<Record<string, string>> = {
  src: 'source',
  dst: 'target',
  destination: 'target',
  ro: 'readonly',
  rw: 'readwrite',
};
/** Which keys have a meaning for which type; `type`, `target`, `readonly` and `readwrite` have one for all. */
const KEYS_OF: Readonly<Record<Type, readonly string[]>> = {
  bind: ['from', 'source'],
  cache: ['from', 'source', 'id', 'sharing', 'mode', 'uid', 'gid'],
  tmpfs: ['size'],
  secret: ['source', 'id', 'required', 'mode', 'uid', 'gid', 'env'],
  ssh: ['id', 'required', 'mode', 'uid', 'gid'],
};
const SHARINGS = ['shared', 'private', 'locked'] as const;
const ID_MAX = 4_294_967_295;
const SECRETS = '/run/secrets';

/** @throws ClusterError `invalid` naming the line */
export function mountOf(text: string, read: MountRead): Mount | undefined {
  const values = valuesOf(text, read);
  if (read.isProof) return undefined;
  const { place } = read;
  const type = TYPES.find((each) => each === (values.get('type') ?? 'bind').toLowerCase());
  if (type === undefined) {
    const given = values.get('type') ?? '';
    throw flaw(
      place,
      `unsupported mount type "${given}"${suggestion(given, TYPES)}`,
      'choose bind, cache, tmpfs or secret',
    );
  }
  if (type === 'ssh') {
    throw flaw(place, 'mounts of type ssh are not supported', 'give a key as a secret: --mount=type=secret,id=NAME');
  }
  for (const key of values.keys()) {
    const common = key === 'type' || key === 'target' || key === 'readonly' || key === 'readwrite';
    if (!common && !KEYS_OF[type].includes(key)) throw flaw(place, `unexpected key '${key}' for mount type '${type}'`);
  }
  return typed(type, new Values(values, read));
}

/** What `from=` names, before anything is expanded; at most one. */
export function mountFrom(text: string, place: Place): readonly string[] {
  const from = csvFields(text, place)
    .filter((field) => /^from=./i.test(field))
    .at(-1);
  return from === undefined ? [] : [from.slice('from='.length)];
}

function valuesOf(text: string, read: MountRead): ReadonlyMap<string, string> {
  const { place } = read;
  const values = new Map<string, string>();
  for (const field of csvFields(text, place)) {
    const at = field.indexOf('=');
    const written = (at === -1 ? field : field.slice(0, at)).toLowerCase();
    if (!KEYS.includes(written)) {
      throw flaw(
        place,
        `unexpected key '${written}' in '${field}'${suggestion(written, KEYS)}`,
        `keys are ${KEYS.join(', ')}`,
      );
    }
    const key = ALIAS[written] ?? written;
    if (at === -1 && !['readonly', 'readwrite', 'required'].includes(key)) {
      throw flaw(place, `invalid field '${field}' must be a key=value pair`, `write ${field}=VALUE`);
    }
    const value = at === -1 ? 'true' : field.slice(at + 1);
    if (key === 'from' && /\$./.test(value)) {
      throw flaw(place, "'from' doesn't support variable expansion", 'define a stage: FROM the variable AS NAME');
    }
    values.set(key, key === 'from' ? value : read.expand(value));
  }
  return values;
}

/** One line of comma-separated values; a field in double quotes may hold commas. Source: RFC 4180. */
function csvFields(text: string, place: Place): readonly string[] {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    const match = /"((?:[^"]|"")*)"|([^",]*)/y;
    match.lastIndex = at;
    const found = match.exec(text);
    const end = match.lastIndex;
    if (found === null || (end < text.length && text.charAt(end) !== ',')) {
      throw flaw(place, `--mount=${text} is no list of key=value`, 'separate them by commas, without spaces');
    }
    fields.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? '');
    if (end >= text.length) return fields;
    at = end + 1;
  }
}

function typed(type: Exclude<Type, 'ssh'>, values: Values): Mount {
  switch (type) {
    case 'bind':
      return {
        type,
        target: values.target(),
        from: values.from() ?? { kind: 'context' },
        source: values.text('source') ?? '',
        readOnly: values.readOnly(true),
      };
    case 'cache': {
      const target = values.target();
      const from = values.from();
      return {
        type,
        target,
        id: values.text('id') ?? target,
        sharing: values.sharing(),
        ...(from === undefined ? {} : { from }),
        source: values.text('source') ?? '',
        readOnly: values.readOnly(false),
        ...values.owner(0o755),
      };
    }
    case 'tmpfs':
      return { type, target: values.target(), sizeBytes: values.size() };
    case 'secret':
      return secret(values);
  }
}

/** Id, source and target stand in for one another. Without a target, and with a variable's name, there is no file. */
function secret(values: Values): Mount {
  const target = values.text('target');
  const id = values.text('id') ?? values.text('source') ?? (target === undefined ? '' : baseName(target));
  if (id === '') throw values.wrong('invalid secret mount, one of id, source, target is required', 'write id=NAME');
  if (values.text('id') !== undefined && values.text('source') !== undefined) {
    throw values.wrong("both source and id can't be set", 'write id=NAME');
  }
  const env = values.text('env');
  const file = target !== undefined ? values.target() : `${SECRETS}/${baseName(id)}`;
  return {
    type: 'secret',
    id,
    ...(target === undefined && env !== undefined ? {} : { target: file }),
    ...(env === undefined ? {} : { env }),
    required: values.flag('required') ?? false,
    ...values.owner(0o400),
  };
}

class Values {
  readonly #values: ReadonlyMap<string, string>;
  readonly #read: MountRead;

  constructor(values: ReadonlyMap<string, string>, read: MountRead) {
    this.#values = values;
    this.#read = read;
  }

  wrong(why: string, hint?: string): Error {
    return flaw(this.#read.place, why, hint);
  }

  text(key: string): string | undefined {
    const value = this.#values.get(key);
    return value === '' ? undefined : value;
  }

  target(): string {
    const target = this.text('target');
    if (target === undefined) throw this.wrong('a mount needs a target', 'add target=PATH');
    const path = joinPath(this.#read.workdir ?? '/', target);
    if (path === '/') throw this.wrong('invalid mount target "/"', 'mount over a folder below /');
    return cleanPath(path);
  }

  from(): Source | undefined {
    const from = this.text('from');
    return from === undefined ? undefined : this.#read.sourceOf(from);
  }

  flag(key: string): boolean | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (/^(?:1|t|true)$/i.test(value)) return true;
    if (/^(?:0|f|false)$/i.test(value)) return false;
    throw this.wrong(`invalid value for ${key}: ${value}`, 'write true or false');
  }

  readOnly(standard: boolean): boolean {
    const writable = this.flag('readwrite');
    return writable === undefined ? (this.flag('readonly') ?? standard) : !writable;
  }

  sharing(): (typeof SHARINGS)[number] {
    const value = (this.text('sharing') ?? 'shared').toLowerCase();
    const sharing = SHARINGS.find((each) => each === value);
    if (sharing !== undefined) return sharing;
    throw this.wrong(
      `unsupported sharing value "${value}"${suggestion(value, SHARINGS)}`,
      `choose ${SHARINGS.join(', ')}`,
    );
  }

  size(): number {
    const value = this.text('size');
    try {
      return value === undefined ? 0 : parseBytes(value, 'size');
    } catch (cause) {
      throw this.wrong(`invalid value for size: ${messageOf(cause)}`, 'write it like 64m or 1g');
    }
  }

  owner(mode: number): { readonly mode: number; readonly uid: number; readonly gid: number } {
    return {
      mode: this.#number('mode', 8, 0o7777, mode),
      uid: this.#number('uid', 10, ID_MAX, 0),
      gid: this.#number('gid', 10, ID_MAX, 0),
    };
  }

  #number(key: string, base: 8 | 10, max: number, standard: number): number {
    const text = this.text(key);
    if (text === undefined) return standard;
    const number = (base === 8 ? /^[0-7]+$/ : /^\d+$/).test(text) ? Number.parseInt(text, base) : Number.NaN;
    if (number <= max) return number;
    throw this.wrong(`invalid value ${text} for ${key}`, `write a number from 0 to ${max.toString(base)}`);
  }
}
