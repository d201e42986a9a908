import { expect, it } from 'vitest';
import { historyRows, type ImageWords, inspectImage } from '../../../cli/format/image.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const INDEX = `sha256:${'cd'.repeat(32)}`;
const NOW = Date.parse('2026-01-02T00:00:00Z');

const words = (more: Partial<ImageWords> = {}): ImageWords => ({
  reference: 'registry:5000/web:1',
  digest: DIGEST,
  indexDigest: '',
  size: 300,
  references: ['registry:5000/web:1', 'web:1'],
  manifest: JSON.stringify({ layers: [{ size: 1_000 }, { size: 2_000_000 }] }),
  config: JSON.stringify({
    created: '2026-01-01T00:00:00Z',
    os: 'linux',
    architecture: 'amd64',
    config: { Cmd: ['/web'] },
    rootfs: { diff_ids: ['sha256:1', 'sha256:2'] },
    history: [
      { created: '2026-01-01T00:00:00Z', created_by: 'ADD rootfs' },
      { created: '2026-01-01T12:00:00Z', created_by: 'ENV A=1', empty_layer: true },
      { created: 'never', created_by: `RUN ${'x'.repeat(60)}\n  && y`, comment: 'last' },
    ],
  }),
  ...more,
});

it('shows an image in Docker’s words', () => {
  expect(inspectImage(words())).toEqual({
    Id: DIGEST,
    RepoTags: ['registry:5000/web:1', 'web:1'],
    RepoDigests: [`registry:5000/web@${DIGEST}`],
    Created: '2026-01-01T00:00:00Z',
    Author: '',
    Architecture: 'amd64',
    Variant: '',
    Os: 'linux',
    Size: 300,
    Config: { Cmd: ['/web'] },
    RootFS: { Type: 'layers', Layers: ['sha256:1', 'sha256:2'] },
  });
  expect(inspectImage(words({ indexDigest: INDEX }))).toMatchObject({ RepoDigests: [`registry:5000/web@${INDEX}`] });
});

it('shows the steps newest first, with the sizes of those that made a layer', () => {
  const rows = historyRows(words(), NOW, false);
  expect(rows.map(({ ID, CreatedSince, Size }) => [ID, CreatedSince, Size])).toEqual([
    ['abababababab', '', '2MB'],
    ['<missing>', '12 hours ago', '0B'],
    ['<missing>', '24 hours ago', '1kB'],
  ]);
  expect(rows[0]?.CreatedBy).toHaveLength(45);
  expect(rows[0]?.CreatedBy).toMatch(/^RUN x+…$/);
  const [whole] = historyRows(words(), NOW, true);
  expect(whole).toMatchObject({ ID: DIGEST, Comment: 'last', CreatedBy: expect.stringContaining('\n  && y') });
});

it('has nothing to show of an image without a history', () => {
  expect(historyRows(words({ config: '{}' }), NOW, false)).toEqual([]);
});
