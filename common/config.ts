/**
 * A program's settings from its file, the environment and flags, in rising order of precedence. Everything is checked;
 * what is not known is refused with the place where it stands.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ClusterError, messageOf } from './errors.ts';

/** One setting. `text` is what the user reads in `--help`. */
export type Setting =
  | { readonly kind: 'string'; readonly default: string; readonly text: string; readonly matches?: RegExp }
  | {
      readonly kind: 'integer';
      readonly default: number;
      readonly text: string;
      readonly min: number;
      readonly max: number;
    }
  | { readonly kind: 'boolean'; readonly default: boolean; readonly text: string }
  | { readonly kind: 'list'; readonly default: readonly string[]; readonly text: string };

export type Settings = Readonly<Record<string, Setting>>;

type ValueOf<S extends Setting> = S extends { kind: 'integer' }
  ? number
  : S extends { kind: 'boolean' }
    ? boolean
    : S extends { kind: 'list' }
      ? readonly string[]
      : string;

export type Config<S extends Settings> = { readonly [K in keyof S]: ValueOf<S[K]> };

export interface ConfigSources {
  readonly program: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Read when `--config` is not given; it may be absent. */
  readonly defaultFile: string;
}

/** The settings, and the words of the command line that are no flags. */
export interface Loaded<S extends Settings> {
  readonly config: Config<S>;
  readonly words: readonly string[];
  readonly help: boolean;
}

/**
 * Keys are the flags' names (`state-dir`), also in the file; the environment has `COVEY_<PROGRAM>_STATE_DIR`.
 * @throws ClusterError `invalid` naming the key and the file's line, the variable or the flag
 */
export function loadConfig<S extends Settings>(settings: S, sources: ConfigSources): Loaded<S> {
  const flags = readFlags(settings, sources.argv);
  const given: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(settings)) given[key] = setting.default;
  Object.assign(given, readFile(settings, flags.file ?? sources.defaultFile, flags.file !== undefined));
  Object.assign(given, readEnv(settings, sources));
  Object.assign(given, flags.values);
  return { config: given as Config<S>, words: flags.words, help: flags.help };
}

/** The text of `--help`: every setting with its default. */
export function helpText(program: string, usage: string, settings: Settings): string {
  const lines = Object.entries(settings).map(([key, setting]) => {
    const shown = Array.isArray(setting.default) ? setting.default.join(',') : String(setting.default);
    return `  --${key.padEnd(22)} ${setting.text}${shown === '' ? '' : ` (default ${shown})`}`;
  });
  const head = [
    `Usage: ${program} ${usage}`,
    '',
    'Settings, as flags, in the file of --config, or in the environment:',
  ];
  return [...head, ...lines, `  --${'config'.padEnd(22)} JSON file with these keys`, ''].join('\n');
}

interface Flags {
  readonly values: Record<string, unknown>;
  readonly words: readonly string[];
  readonly file: string | undefined;
  readonly help: boolean;
}

function readFlags(settings: Settings, argv: readonly string[]): Flags {
  const options: Record<string, { type: 'string' | 'boolean'; multiple?: boolean }> = {
    config: { type: 'string' },
    help: { type: 'boolean' },
  };
  for (const [key, setting] of Object.entries(settings)) {
    options[key] = { type: setting.kind === 'boolean' ? 'boolean' : 'string', multiple: setting.kind === 'list' };
  }
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true });
  } catch (cause) {
    throw new ClusterError('invalid', messageOf(cause).split('. To specify')[0] ?? '', { hint: 'see --help', cause });
  }
  const { config, help, ...rest } = parsed.values;
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(rest))
    values[key] = convert(key, settings[key] as Setting, value, `--${key}`);
  return { values, words: parsed.positionals, file: config as string | undefined, help: help === true };
}

function readEnv(settings: Settings, sources: ConfigSources): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(settings)) {
    const name = `${sources.program}_${key}`.replaceAll('-', '_').toUpperCase();
    const text = sources.env[name];
    if (text !== undefined) values[key] = convert(key, setting, text, name);
  }
  return values;
}

function readFile(settings: Settings, file: string, mustExist: boolean): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if (!mustExist && (cause as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new ClusterError('invalid', `cannot read the config file ${file}: ${messageOf(cause)}`, { cause });
  }
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(parseObject(text, file))) {
    const place = `${file}:${lineOf(text, key)}`;
    const setting = Object.hasOwn(settings, key) ? settings[key] : undefined;
    if (setting === undefined) {
      throw new ClusterError('invalid', `${place}: unknown key "${key}"`, {
        field: key,
        hint: `known keys: ${Object.keys(settings).join(', ')}`,
      });
    }
    values[key] = convert(key, setting, value, place);
  }
  return values;
}

function parseObject(text: string, file: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ClusterError('invalid', `${file} is not JSON: ${messageOf(cause)}`, { cause });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new ClusterError('invalid', `${file} must hold one JSON object`);
}

function lineOf(text: string, key: string): number {
  const at = text.search(new RegExp(`${JSON.stringify(key).replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}\\s*:`));
  return text.slice(0, Math.max(at, 0)).split('\n').length;
}

function convert(key: string, setting: Setting, value: unknown, place: string): unknown {
  const refuse = (wanted: string): never => {
    throw new ClusterError('invalid', `${place}: "${key}" must be ${wanted}, not ${JSON.stringify(value)}`, {
      field: key,
    });
  };
  switch (setting.kind) {
    case 'string':
      if (typeof value !== 'string') return refuse('text');
      return setting.matches === undefined || setting.matches.test(value) ? value : refuse(setting.text);
    case 'integer': {
      const number = typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value;
      const fits =
        typeof number === 'number' && Number.isInteger(number) && number >= setting.min && number <= setting.max;
      return fits ? number : refuse(`a whole number from ${setting.min} to ${setting.max}`);
    }
    case 'boolean':
      if (value === true || value === 'true') return true;
      return value === false || value === 'false' ? false : refuse('true or false');
    case 'list': {
      const items = typeof value === 'string' ? [value] : value;
      const good = Array.isArray(items) && items.every((item) => typeof item === 'string');
      return good
        ? items.flatMap((item: string) => item.split(',')).filter((item) => item !== '')
        : refuse('a list of texts');
    }
  }
}
