/** What takes room on nodes' disks, as rows. */
import { formatAge, formatBytes } from '../../common/units.ts';
import type { covey } from '../../proto/messages.ts';
import type { Column, Row } from './table.ts';

/** As `docker system df`, by node. */
export const DISK_COLUMNS: readonly Column[] = [
  { key: 'Node', title: 'NODE' },
  { key: 'Type', title: 'TYPE' },
  { key: 'TotalCount', title: 'TOTAL' },
  { key: 'Active', title: 'ACTIVE' },
  { key: 'Size', title: 'SIZE' },
  { key: 'Reclaimable', title: 'RECLAIMABLE' },
];

export const NODE_COLUMNS: readonly Column[] = [
  { key: 'Node', title: 'NODE' },
  { key: 'Dir', title: 'DIRECTORY' },
  { key: 'Used', title: 'USED' },
  { key: 'Free', title: 'FREE' },
  { key: 'Share', title: 'USE%' },
];

export const ITEM_COLUMNS: readonly Column[] = [
  { key: 'Node', title: 'NODE' },
  { key: 'Kind', title: 'KIND' },
  { key: 'Name', title: 'NAME' },
  { key: 'Size', title: 'SIZE' },
  { key: 'Used', title: 'LAST USED' },
  { key: 'Worth', title: 'MAY GO' },
];

const TYPES = [
  { kind: 'image', title: 'Images' },
  { kind: 'packed-layer', title: 'Packed Layers' },
  { kind: 'container', title: 'Containers' },
  { kind: 'volume', title: 'Local Volumes' },
  { kind: 'build-cache', title: 'Build Cache' },
] as const;

const MAY_GO: Readonly<Record<string, string>> = { spare: 'by itself', asked: 'by prune', needed: 'no' };

/** One row a kind. */
export function diskRows(node: string, { items }: Pick<covey.v1.DiskUseReport, 'items'>): readonly Row[] {
  return TYPES.map(({ kind, title }) => {
    const all = items.filter((item) => item.kind === kind);
    const sum = (some: typeof all): number => some.reduce((bytes, item) => bytes + item.bytes, 0);
    const [size, spare] = [sum(all), sum(all.filter(({ worth }) => worth !== 'needed'))];
    const share = size === 0 ? '' : ` (${Math.floor((spare / size) * 100)}%)`;
    return {
      Node: node,
      Type: title,
      TotalCount: String(all.length),
      Active: String(all.filter(({ worth }) => worth === 'needed').length),
      Size: formatBytes(size),
      Reclaimable: `${formatBytes(spare)}${share}`,
    };
  });
}

/** How full the node's disk is. */
export function nodeRow(node: string, { dir, usedBytes, freeBytes }: covey.v1.DiskUseReport): Row {
  const all = usedBytes + freeBytes;
  const share = all === 0 ? 0 : Math.ceil((usedBytes / all) * 100);
  return { Node: node, Dir: dir, Used: formatBytes(usedBytes), Free: formatBytes(freeBytes), Share: `${share}%` };
}

/** One row a thing, in the order in which they would go. */
export function itemRows(node: string, items: readonly covey.v1.DiskItem[], now: number): readonly Row[] {
  return items.map(({ kind, name, bytes, usedAt, worth }) => ({
    Node: node,
    Kind: kind,
    Name: name,
    Size: formatBytes(bytes),
    Used: `${formatAge(Math.max(0, now - usedAt))} ago`,
    Worth: MAY_GO[worth] ?? worth,
  }));
}
