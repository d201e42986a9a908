import { expect, it } from 'vitest';
import { DISK_COLUMNS, diskRows, ITEM_COLUMNS, itemRows, NODE_COLUMNS, nodeRow } from '../../../cli/format/disk.ts';
import { renderTable } from '../../../cli/format/table.ts';
import { covey } from '../../../proto/messages.ts';

const report = covey.v1.DiskUseReport.decode(
  covey.v1.DiskUseReport.encode({
    dir: '/var/lib/covey/agent',
    usedBytes: 81_000_000,
    freeBytes: 19_000_000,
    pressure: '',
    items: [
      { kind: 'container', id: 't1', name: 'web.1', bytes: 1_000_000, usedAt: 0, worth: 'spare' },
      { kind: 'image', id: 'i1', name: 'web:1', bytes: 30_000_000, usedAt: 0, worth: 'needed' },
      { kind: 'image', id: 'i2', name: 'web:0', bytes: 10_000_000, usedAt: 60_000, worth: 'spare' },
      { kind: 'image', id: 'i3', name: 'db:1', bytes: 10_000_000, usedAt: 0, worth: 'asked' },
    ],
  }).finish(),
) as covey.v1.DiskUseReport;

it('sums what takes room by kind, as Docker does', () => {
  expect(renderTable(DISK_COLUMNS, diskRows('n1', report))).toBe(`\
NODE   TYPE            TOTAL   ACTIVE   SIZE   RECLAIMABLE
n1     Images          3       1        50MB   20MB (40%)
n1     Packed Layers   0       0        0B     0B
n1     Containers      1       0        1MB    1MB (100%)
n1     Local Volumes   0       0        0B     0B
n1     Build Cache     0       0        0B     0B
`);
});

it('says how full a disk is', () => {
  expect(renderTable(NODE_COLUMNS, [nodeRow('n1', report)])).toBe(`\
NODE   DIRECTORY              USED   FREE   USE%
n1     /var/lib/covey/agent   81MB   19MB   81%
`);
});

it('lists each thing with what it is worth', () => {
  expect(renderTable(ITEM_COLUMNS, itemRows('n1', report.items.slice(1, 4), 3_660_000))).toBe(`\
NODE   KIND    NAME    SIZE   LAST USED           MAY GO
n1     image   web:1   30MB   About an hour ago   no
n1     image   web:0   10MB   About an hour ago   by itself
n1     image   db:1    10MB   About an hour ago   by prune
`);
});
