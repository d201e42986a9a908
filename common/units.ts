/** Durations, sizes and CPU counts as people write them (Docker's ways) and as programs keep them. */
import { ClusterError } from './errors.ts';

const MS_OF: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};
const BYTES_OF: Readonly<Record<string, number>> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

const BITS_OF: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** Go's limit: what Docker's durations can hold. */
const DURATION_MAX_MS = 9_223_372_036_854;

/**
 * `1h30m`, `10s`, `250ms`, `0`; milliseconds, rounded up so that nothing asked for becomes 0.
 * @throws ClusterError `invalid` naming `field`
 */
export function parseDuration(text: string, field: string): number {
  if (text === '0') return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  const whole = parts.map((part) => part[0]).join('');
  if (parts.length === 0 || whole !== text) {
    throw new ClusterError('invalid', `"${text}" is not a duration`, {
      field,
      hint: 'write it like 10s, 1m30s or 250ms',
    });
  }
  const ms = Math.ceil(parts.reduce((sum, [, count, unit]) => sum + Number(count) * (MS_OF[unit ?? ''] ?? 0), 0));
  if (ms > DURATION_MAX_MS) throw new ClusterError('invalid', `"${text}" is longer than 292 years`, { field });
  return ms;
}

/** `512`, `64m`, `1.5g`, `10MB`, `1GiB`; bytes, powers of 1024 as Docker takes them. @throws ClusterError `invalid` */
export function parseBytes(text: string, field: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([bkmgt]?)(?:i?b)?$/.exec(text.toLowerCase());
  const bytes = match === null ? Number.NaN : Math.floor(Number(match[1]) * (BYTES_OF[match[2] ?? ''] ?? Number.NaN));
  if (!Number.isSafeInteger(bytes)) {
    throw new ClusterError('invalid', `"${text}" is not a size`, { field, hint: 'write it like 64m, 1g or 1048576' });
  }
  return bytes;
}

/** `0.5`, `2`; billionths of a CPU. @throws ClusterError `invalid` */
export function parseCpus(text: string, field: string): number {
  const nano = /^\d+(\.\d{1,9})?$/.test(text) ? Math.round(Number(text) * 1e9) : Number.NaN;
  if (!Number.isSafeInteger(nano)) {
    throw new ClusterError('invalid', `"${text}" is not a number of CPUs`, { field, hint: 'write it like 0.5 or 2' });
  }
  return nano;
}

/** `512kbit`, `20mbit`, `1.5gbit`; bits a second, powers of 1000 as networks count. @throws ClusterError `invalid` */
export function parseBitRate(text: string, field: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmg]?)bit$/.exec(text.toLowerCase());
  const bits = match === null ? Number.NaN : Math.floor(Number(match[1]) * (BITS_OF[match[2] ?? ''] ?? Number.NaN));
  if (!Number.isSafeInteger(bits)) {
    throw new ClusterError('invalid', `"${text}" is not a network rate`, {
      field,
      hint: 'write it like 512kbit, 20mbit or 1gbit',
    });
  }
  return bits;
}

/** `1h30m0s` without the zero parts: `90s` is `1m30s`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  if (ms < 1_000) return `${ms}ms`;
  const parts = [
    [Math.floor(ms / 3_600_000), 'h'],
    [Math.floor((ms % 3_600_000) / 60_000), 'm'],
    [(ms % 60_000) / 1_000, 's'],
  ] as const;
  return parts.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('');
}

/** Docker's size column: decimal units, at most four digits: `1.23MB`. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1_000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']);
}

/** Docker's column of memory: binary units, at most four digits: `1.5MiB`. */
export function formatBinary(bytes: number): string {
  return scaled(bytes, 1_024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);
}

function scaled(bytes: number, step: number, units: readonly string[]): string {
  let value = bytes;
  let unit = 0;
  while (value >= step && unit < units.length - 1) {
    value /= step;
    unit += 1;
  }
  return `${Number(value.toPrecision(4))}${units[unit]}`;
}

/** Docker's ages: `Less than a second`, `5 seconds`, `About a minute`, `3 hours`, `2 weeks`. */
export function formatAge(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.round(minutes / 60);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}
