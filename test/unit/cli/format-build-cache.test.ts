import { expect, it } from 'vitest';
import { CACHE_COLUMNS, cacheRows, cacheTotals } from '../../../cli/format/build-cache.ts';
import { renderTable } from '../../../cli/format/table.ts';

const item = { kind: 'build-cache', usedAt: 0, worth: 'spare', shared: false };
const items = [
  { ...item, id: `step:${'ab'.repeat(32)}`, name: 'layer 0123456789ab', bytes: 0, shared: true },
  { ...item, id: `mount:${'cd'.repeat(32)}.2`, name: 'cache mount /root/.cache', bytes: 30_000_000, worth: 'needed' },
  { ...item, id: `context:${'ef'.repeat(32)}`, name: 'context of web:1', bytes: 20_000_000 },
  { ...item, kind: 'image', id: 'i', name: 'web:1', bytes: 5 },
];

it('shows what builds keep, and of it what may go', () => {
  expect(renderTable(CACHE_COLUMNS, cacheRows('n1', items, 3_660_000))).toBe(`\
NODE   ID                     DESCRIPTION                RECLAIMABLE   SHARED   SIZE   LAST ACCESSED
n1     step:abababababab      layer 0123456789ab         true          true     0B     About an hour ago
n1     mount:cdcdcdcdcdcd.2   cache mount /root/.cache   false         false    30MB   About an hour ago
n1     context:efefefefefef   context of web:1           true          false    20MB   About an hour ago
`);
  expect(cacheTotals(items)).toBe('Reclaimable:\t20MB\nTotal:\t\t50MB\n');
});
