/**
 * Seccomp profiles as people write them: OCI's form, and Docker's with its conditions. Pure; a foreign document is read
 * field by field, and what is not known is refused, because a filter that is half understood protects half.
 * Source: OCI runtime-spec, config-linux.md; Docker's default profile.
 */

export interface SeccompArgument {
  /** 0–5 */
  readonly index: number;
  readonly value: number;
  /** With SCMP_CMP_MASKED_EQ: what `value`, the mask, must leave. */
  readonly valueTwo: number;
  readonly op: string;
}

/** A rule holds when all of `includes` and none of `excludes` is so. */
export interface SeccompCondition {
  readonly arches: readonly string[];
  readonly caps: readonly string[];
  /** `4.8` */
  readonly minKernel?: string;
}

export interface SeccompSyscalls {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args: readonly SeccompArgument[];
  readonly includes: SeccompCondition;
  readonly excludes: SeccompCondition;
}

export interface SeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  /** As given; empty when `archMap` says it. */
  readonly architectures: readonly string[];
  readonly archMap: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] }[];
  readonly flags: readonly string[];
  readonly syscalls: readonly SeccompSyscalls[];
}

const ACTIONS = new Set(
  'ALLOW ERRNO KILL KILL_THREAD KILL_PROCESS TRAP TRACE LOG'.split(' ').map((name) => `SCMP_ACT_${name}`),
);
const OPERATORS = new Set('NE LT LE EQ GE GT MASKED_EQ'.split(' ').map((name) => `SCMP_CMP_${name}`));
const FLAGS = new Set(['TSYNC', 'LOG', 'SPEC_ALLOW'].map((name) => `SECCOMP_FILTER_FLAG_${name}`));
const ERRNO_MAX = 4_095;
/** More rules than the kernel's 4,096 instructions could hold. */
const RULES_MAX = 1_000;
const NAMES_MAX = 1_000;

class Wrong extends Error {}
type Fields = Readonly<Record<string, unknown>>;

/** The profile, or what is wrong with it as the rest of a sentence. */
export function parseSeccompProfile(json: string): { readonly profile: SeccompProfile } | { readonly flaw: string } {
  try {
    return { profile: profileOf(JSON.parse(json)) };
  } catch (cause) {
    if (cause instanceof Wrong) return { flaw: cause.message };
    if (cause instanceof SyntaxError) return { flaw: 'is not JSON' };
    throw cause;
  }
}

function profileOf(value: unknown): SeccompProfile {
  const fields = record(value, 'it', [
    'defaultAction',
    'defaultErrnoRet',
    'architectures',
    'archMap',
    'flags',
    'listenerPath',
    'listenerMetadata',
    'syscalls',
  ]);
  for (const key of ['listenerPath', 'listenerMetadata']) {
    if ((fields[key] ?? '') !== '') throw new Wrong(`has ${key}, but no listener is run`);
  }
  const profile = {
    defaultAction: action(fields.defaultAction, 'defaultAction'),
    ...errno(fields, 'defaultErrnoRet'),
    architectures: texts(fields.architectures, 'architectures'),
    archMap: list(fields.archMap, 'archMap').map((each) => {
      const entry = record(each, 'archMap', ['architecture', 'subArchitectures']);
      return {
        architecture: text(entry.architecture, 'archMap.architecture'),
        subArchitectures: texts(entry.subArchitectures, 'archMap.subArchitectures'),
      };
    }),
    flags: texts(fields.flags, 'flags'),
    syscalls: list(fields.syscalls, 'syscalls').map(syscallsOf),
  };
  if (profile.architectures.length > 0 && profile.archMap.length > 0)
    throw new Wrong('has both architectures and archMap');
  for (const flag of profile.flags) if (!FLAGS.has(flag)) throw new Wrong(`has the unknown flag "${flag}"`);
  return profile;
}

function syscallsOf(value: unknown): SeccompSyscalls {
  const keys = ['name', 'names', 'action', 'errnoRet', 'args', 'comment', 'includes', 'excludes', 'priority'];
  const fields = record(value, 'syscalls', keys);
  const single = fields.name === undefined ? [] : [text(fields.name, 'syscalls.name')];
  const names = [...single, ...texts(fields.names, 'syscalls.names')];
  if (names.length === 0) throw new Wrong('has a rule without names');
  return {
    names,
    action: action(fields.action, 'syscalls.action'),
    ...errno(fields, 'errnoRet'),
    args: list(fields.args, 'syscalls.args').map(argumentOf),
    includes: conditionOf(fields.includes, 'syscalls.includes'),
    excludes: conditionOf(fields.excludes, 'syscalls.excludes'),
  };
}

function argumentOf(value: unknown): SeccompArgument {
  const fields = record(value, 'syscalls.args', ['index', 'value', 'valueTwo', 'op']);
  const op = text(fields.op, 'syscalls.args.op');
  if (!OPERATORS.has(op)) throw new Wrong(`has the unknown operator "${op}"`);
  return {
    index: whole(fields.index, 'syscalls.args.index', 5),
    value: whole(fields.value, 'syscalls.args.value', Number.MAX_SAFE_INTEGER),
    valueTwo: whole(fields.valueTwo ?? 0, 'syscalls.args.valueTwo', Number.MAX_SAFE_INTEGER),
    op,
  };
}

function conditionOf(value: unknown, name: string): SeccompCondition {
  const fields = record(value ?? {}, name, ['arches', 'caps', 'minKernel']);
  const kernel = fields.minKernel ?? undefined;
  const minKernel = kernel === undefined ? undefined : text(kernel, `${name}.minKernel`);
  if (minKernel !== undefined && !/^\d{1,3}\.\d{1,4}$/.test(minKernel))
    throw new Wrong(`has ${name}.minKernel "${minKernel}", which is not like 4.8`);
  return {
    arches: texts(fields.arches, `${name}.arches`),
    caps: texts(fields.caps, `${name}.caps`),
    ...(minKernel === undefined ? {} : { minKernel }),
  };
}

function record(value: unknown, name: string, known: readonly string[]): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Wrong(`has ${name} as no object`);
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) throw new Wrong(`has the unknown field "${key.slice(0, 40)}"`);
  }
  return value as Fields;
}

function list(value: unknown, name: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Wrong(`has ${name} as no list`);
  if (value.length > RULES_MAX) throw new Wrong(`has more than ${RULES_MAX} entries in ${name}`);
  return value;
}

function texts(value: unknown, name: string): readonly string[] {
  if (Array.isArray(value) && value.length > NAMES_MAX) throw new Wrong(`has more than ${NAMES_MAX} ${name}`);
  return list(value, name).map((each) => text(each, name));
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string' || value.length > 255 || /\p{Cc}/u.test(value))
    throw new Wrong(`has no text in ${name}`);
  return value;
}

function action(value: unknown, name: string): string {
  const word = text(value, name);
  if (word === 'SCMP_ACT_NOTIFY') throw new Wrong(`has ${name} SCMP_ACT_NOTIFY, but no listener is run`);
  if (!ACTIONS.has(word)) throw new Wrong(`has the unknown ${name} "${word}"`);
  return word;
}

function errno<Key extends string>(fields: Fields, key: Key): { readonly [K in Key]?: number } {
  const value = fields[key];
  return value === undefined || value === null
    ? {}
    : ({ [key]: whole(value, key, ERRNO_MAX) } as { [K in Key]: number });
}

function whole(value: unknown, name: string, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max) return value;
  throw new Wrong(`has ${name} ${String(value).slice(0, 40)}, which is no whole number from 0 to ${max}`);
}
