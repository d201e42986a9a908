import { describe, expect, it } from 'vitest';
import { pruneWish } from '../../../cli/commands/image-removal.ts';
import { imageRow } from '../../../cli/format/image.ts';
import { imageFilters, type ListedImage, passes } from '../../../cli/format/image-filter.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const image = (reference: string, changes: Partial<ListedImage> = {}): ListedImage => ({
  reference,
  digest: DIGEST,
  size: 1_500_000,
  loadedAt: 1_000,
  labels: {},
  ...changes,
});
const shows = (one: ListedImage, ...filters: readonly string[]): boolean => passes(one, imageFilters(filters));

describe('filters of image ls', () => {
  it('hold a reference against the name, with and without tag and path', () => {
    const web = image('registry:5000/shop/web:1');
    expect(shows(web, 'reference=registry:5000/shop/web:1')).toBe(true);
    expect(shows(web, 'reference=registry:5000/*/web')).toBe(true);
    expect(shows(web, 'reference=web')).toBe(true);
    expect(shows(web, 'reference=web:2')).toBe(false);
    expect(shows(web, 'reference=w*:?')).toBe(true);
    expect(shows(web, 'reference=*')).toBe(true);
    expect(shows(web, 'reference=registry*')).toBe(false);
    expect(shows(web, 'reference=api', 'reference=web')).toBe(true);
  });

  it('ask for every label, by key or value', () => {
    const one = image('web:1', { labels: { tier: 'front', empty: '' } });
    expect(shows(one, 'label=tier', 'label=tier=front', 'label=empty=')).toBe(true);
    expect(shows(one, 'label=tier', 'label=tier=back')).toBe(false);
    expect(shows(one, 'label=constructor')).toBe(false);
  });

  it('take before and since from the times of other images', () => {
    const filters = imageFilters(['before=web:9', 'since=web:1']);
    filters.times.set('web:9', 2_000).set('web:1', 500);
    expect(passes(image('a:1', { loadedAt: 1_000 }), filters)).toBe(true);
    expect(passes(image('a:1', { loadedAt: 2_000 }), filters)).toBe(false);
    expect(passes(image('a:1', { loadedAt: 500 }), filters)).toBe(false);
  });

  it.each(['size=1', 'reference', 'dangling=perhaps'])('refuse %s', (text) => {
    expect(() => imageFilters([text])).toThrow(expect.objectContaining({ field: '--filter' }));
  });
});

it('shows an image that lost its name with its digest and no tag', () => {
  const row = imageRow(image(`registry:5000/web@${DIGEST}`), 61_000, true);
  expect(row).toEqual({
    Repository: 'registry:5000/web',
    Tag: '<none>',
    Digest: DIGEST,
    ID: DIGEST,
    CreatedSince: 'About a minute ago',
    Size: '1.5MB',
  });
});

it('reads the filters of image prune, times as durations, seconds or dates', () => {
  expect(pruneWish(['until=24h', 'label=a', 'label=b=1', 'label!=c'], 100_000_000)).toEqual({
    until: 100_000_000 - 86_400_000,
    labels: ['a', 'b=1'],
    labelsNot: ['c'],
  });
  expect(pruneWish(['until=1700000000'], 0).until).toBe(1_700_000_000_000);
  expect(pruneWish(['until=2026-01-02T00:00:00Z'], 0).until).toBe(Date.parse('2026-01-02T00:00:00Z'));
  expect(() => pruneWish(['dangling=true'], 0)).toThrow('no filter');
});
