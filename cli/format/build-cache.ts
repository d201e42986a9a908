/** What builds keep, as rows: `docker buildx du`, by node. */
import { formatAge, formatBytes } from '../../common/units.ts';
import type { covey } from '../../proto/messages.ts';
import type { Column, Row } from './table.ts';

/** The kind of things that are meant. */
export const BUILD_CACHE = 'build-cache';

export const CACHE_COLUMNS: readonly Column[] = [
  { key: 'Node', title: 'NODE' },
  { key: 'ID', title: 'ID' },
  { key: 'Description', title: 'DESCRIPTION' },
  { key: 'Reclaimable', title: 'RECLAIMABLE' },
  { key: 'Shared', title: 'SHARED' },
  { key: 'Size', title: 'SIZE' },
  { key: 'LastAccessed', title: 'LAST ACCESSED' },
];

type Item = Pick<covey.v1.DiskItem, 'kind' | 'id' | 'name' | 'bytes' | 'usedAt' | 'worth' | 'shared'>;

const SHORT = 12;

/** One row a thing, in the order in which they would go. */
export function cacheRows(node: string, items: readonly Item[], now: number): readonly Row[] {
  return items
    .filter(({ kind }) => kind === BUILD_CACHE)
    .map(({ id, name, bytes, usedAt, worth, shared }) => ({
      Node: node,
      ID: id.replace(/[0-9a-f]{64}/, (hex) => hex.slice(0, SHORT)),
      Description: name,
      Reclaimable: String(worth !== 'needed'),
      Shared: String(shared),
      Size: formatBytes(bytes),
      LastAccessed: `${formatAge(Math.max(0, now - usedAt))} ago`,
    }));
}

export function cacheTotals(items: readonly Item[]): string {
  const all = items.filter(({ kind }) => kind === BUILD_CACHE);
  const sum = (some: readonly Item[]): string => formatBytes(some.reduce((bytes, item) => bytes + item.bytes, 0));
  return `Reclaimable:\t${sum(all.filter(({ worth }) => worth !== 'needed'))}\nTotal:\t\t${sum(all)}\n`;
}
