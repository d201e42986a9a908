/** How a container's output is kept: Docker's log drivers and their options, as a user writes them and as they are meant. Pure. */
import { type Flaw, firstFlaw } from './spec-flaw.ts';

export const LOG_DRIVERS = ['local', 'json-file', 'none'] as const;
export type LogDriver = (typeof LOG_DRIVERS)[number];

/** As the user wrote it. Source: Docker Engine API 1.47, TaskSpec.LogDriver. */
export interface LogPolicy {
  readonly driver: string;
  /** `max-size`, `max-file`, `compress`, `mode`, `max-buffer-size`. */
  readonly options: Readonly<Record<string, string>>;
}

/** What it means. Every log is bounded, whatever was said. */
export interface LogSettings {
  readonly driver: LogDriver;
  /** Of one file. */
  readonly maxBytes: number;
  /** Kept, the newest included. */
  readonly files: number;
  /** Files put aside are compressed. */
  readonly compress: boolean;
  /** Bytes that may wait for the disk while the container goes on; 0 = the container waits. */
  readonly bufferBytes: number;
}

const OPTIONS = ['max-size', 'max-file', 'compress', 'mode', 'max-buffer-size'] as const;
const MIB = 1_048_576;
const DEFAULTS = { maxBytes: 10 * MIB, files: 5, bufferBytes: MIB } as const;
/** Below, rotating would be most of the work; beyond, nobody reads it. */
const SIZE_MIN = 4_096;
const SIZE_MAX = 1_024 * 1_024 * MIB;
const FILES_MAX = 100;
/** The longest line of any format must fit. */
const BUFFER_MIN = 131_072;
const BUFFER_MAX = 1_024 * MIB;
const UNIT: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1_024,
  m: MIB,
  g: 1_024 * MIB,
  t: 1_024 * 1_024 * MIB,
};

/** The settings of a policy without flaw; without a policy those of `local`. */
export function logSettings(policy: LogPolicy | undefined): LogSettings {
  const driver = LOG_DRIVERS.find((one) => one === policy?.driver) ?? 'local';
  const options = policy?.options ?? {};
  const files = Number(options['max-file'] ?? DEFAULTS.files);
  const waits = options.mode !== 'non-blocking';
  return {
    driver,
    maxBytes: sizeOf(options['max-size']) ?? DEFAULTS.maxBytes,
    files,
    compress: options.compress === undefined ? driver === 'local' && files > 1 : isYes(options.compress),
    bufferBytes: waits ? 0 : (sizeOf(options['max-buffer-size']) ?? DEFAULTS.bufferBytes),
  };
}

/** What is wrong with the policy, the first thing found. */
export function logFlaw(policy: LogPolicy, field: string): Flaw | undefined {
  const { driver, options } = policy;
  if (!LOG_DRIVERS.some((one) => one === driver)) {
    const hint = `use ${LOG_DRIVERS.join(', ')}`;
    return { message: `there is no log driver "${driver}"`, field: `${field}.driver`, hint };
  }
  const at = (name: string): string => `${field}.options.${name}`;
  for (const name of Object.keys(options)) {
    if (OPTIONS.some((one) => one === name) && driver !== 'none') continue;
    const hint = driver === 'none' ? 'it keeps nothing and takes no option' : `known: ${OPTIONS.join(', ')}`;
    return { message: `log driver ${driver} has no option "${name}"`, field: at(name), hint };
  }
  return firstFlaw(
    () => sizeFlaw(options['max-size'], at('max-size'), SIZE_MIN, SIZE_MAX),
    () => filesFlaw(options['max-file'], at('max-file')),
    () => wordFlaw(options.compress, at('compress'), ['true', 'false', '1', '0']),
    () => wordFlaw(options.mode, at('mode'), ['blocking', 'non-blocking']),
    () => sizeFlaw(options['max-buffer-size'], at('max-buffer-size'), BUFFER_MIN, BUFFER_MAX),
    () => togetherFlaw(options, at),
  );
}

function togetherFlaw(options: LogPolicy['options'], at: (name: string) => string): Flaw | undefined {
  if (options['max-buffer-size'] !== undefined && options.mode !== 'non-blocking') {
    const message = 'max-buffer-size is of use with mode=non-blocking only';
    return { message, field: at('max-buffer-size'), hint: 'add mode=non-blocking, or leave it out' };
  }
  if (options.compress !== undefined && isYes(options.compress) && options['max-file'] === '1') {
    const message = 'compress needs files that were put aside, and max-file=1 keeps none';
    return { message, field: at('compress'), hint: 'set max-file to 2 or more, or compress=false' };
  }
  return undefined;
}

function isYes(text: string): boolean {
  return text === 'true' || text === '1';
}

/** Bytes of `10m`, `512k`, `1GB`; undefined when nothing was said, NaN when it is no size. Source: docker/go-units, RAMInBytes. */
function sizeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d+(?:\.\d+)?) ?([bkmgt]?)(?:i?b)?$/.exec(text.toLowerCase());
  return match === null ? Number.NaN : Math.floor(Number(match[1]) * (UNIT[match[2] ?? ''] ?? Number.NaN));
}

function sizeFlaw(text: string | undefined, field: string, min: number, max: number): Flaw | undefined {
  const bytes = sizeOf(text);
  if (bytes === undefined || (bytes >= min && bytes <= max)) return undefined;
  const bounds = `from ${min / 1_024}k to ${max / MIB / 1_024}g`;
  return { message: `"${text}" is no size of a log`, field, hint: `write it like 10m, ${bounds}` };
}

function filesFlaw(text: string | undefined, field: string): Flaw | undefined {
  const files = Number(text);
  if (text === undefined || (/^\d+$/.test(text) && files >= 1 && files <= FILES_MAX)) return undefined;
  return { message: `"${text}" is no number of log files`, field, hint: `give a whole number from 1 to ${FILES_MAX}` };
}

function wordFlaw(text: string | undefined, field: string, words: readonly string[]): Flaw | undefined {
  if (text === undefined || words.includes(text)) return undefined;
  return { message: `"${text}" is not understood`, field, hint: `use ${words.slice(0, 2).join(' or ')}` };
}
