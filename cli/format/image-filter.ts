/** The filters of `image ls` and `image prune`, as Docker writes them. Pure. */
import { ClusterError } from '../../common/errors.ts';

/** An image as lists show it. */
export interface ListedImage {
  /** NAME:TAG; NAME@DIGEST of one that lost its name. */
  readonly reference: string;
  readonly digest: string;
  /** What its registry calls it; absent or empty: as `digest`. */
  readonly indexDigest?: string | null;
  readonly size: number;
  readonly loadedAt: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ImageFilters {
  readonly references: readonly string[];
  /** KEY or KEY=VALUE; all must fit. */
  readonly labels: readonly string[];
  readonly dangling?: boolean;
  /** Images, by name or digest. */
  readonly before?: string;
  readonly since?: string;
  /** When those two came. */
  readonly times: Map<string, number>;
}

const KEYS = ['reference', 'label', 'dangling', 'before', 'since'];

/** @throws ClusterError `invalid` for a filter that is not known */
export function imageFilters(texts: readonly string[]): ImageFilters {
  const values = new Map<string, string[]>();
  for (const text of texts) {
    const equals = text.indexOf('=');
    const key = text.slice(0, equals);
    if (equals < 0 || !KEYS.includes(key)) throw noFilter(text, KEYS);
    values.set(key, [...(values.get(key) ?? []), text.slice(equals + 1)]);
  }
  const last = (key: string): string | undefined => values.get(key)?.at(-1);
  const dangling = last('dangling');
  if (dangling !== undefined && !/^(true|1|false|0)$/.test(dangling)) throw noFilter(`dangling=${dangling}`, KEYS);
  const [before, since] = [last('before'), last('since')];
  return {
    references: values.get('reference') ?? [],
    labels: values.get('label') ?? [],
    ...(dangling === undefined ? {} : { dangling: dangling === 'true' || dangling === '1' }),
    ...(before === undefined ? {} : { before }),
    ...(since === undefined ? {} : { since }),
    times: new Map(),
  };
}

/** The refusal of a filter. */
export function noFilter(text: string, keys: readonly string[]): ClusterError {
  return new ClusterError('invalid', `"${text}" is no filter here`, {
    field: '--filter',
    hint: `write ${keys.map((key) => `${key}=…`).join(', ')}`,
  });
}

/** Whether the image is to be shown. */
export function passes(image: ListedImage, filters: ImageFilters): boolean {
  const { references, labels, before, since, times } = filters;
  if (references.length > 0 && !references.some((pattern) => fitsReference(image.reference, pattern))) return false;
  if (before !== undefined && image.loadedAt >= (times.get(before) ?? 0)) return false;
  if (since !== undefined && image.loadedAt <= (times.get(since) ?? 0)) return false;
  return labels.every((label) => hasLabel(image.labels, label));
}

/** `KEY` or `KEY=VALUE`. */
export function hasLabel(labels: Readonly<Record<string, string>>, text: string): boolean {
  const equals = text.indexOf('=');
  if (equals < 0) return Object.hasOwn(labels, text);
  return labels[text.slice(0, equals)] === text.slice(equals + 1);
}

/** Without a tag a pattern is held against the name alone. `*` and `?` stop at slashes. Source: Go, path.Match. */
function fitsReference(reference: string, pattern: string): boolean {
  const colon = reference.search(/[:@][^/]*$/);
  const name = reference.slice(0, colon < 0 ? undefined : colon);
  const shape = globOf(pattern);
  return [reference, name].some((text) => shape.test(text) || shape.test(text.slice(text.lastIndexOf('/') + 1)));
}

function globOf(pattern: string): RegExp {
  const body = pattern
    .replaceAll(/[.+^${}()|\\]/g, '\\$&')
    .replaceAll('*', '[^/]*')
    .replaceAll('?', '[^/]');
  try {
    return new RegExp(`^${body}$`);
  } catch (cause) {
    throw new ClusterError('invalid', `"${pattern}" is no pattern`, { field: '--filter', cause });
  }
}
