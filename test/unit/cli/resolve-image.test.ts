import { expect, it } from 'vitest';
import { wishOfCreate, wishOfUpdate } from '../../../cli/flags/resolve-image.ts';
import type { Given } from '../../../cli/flags/service-edits.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const CURRENT = `web:1@${DIGEST}`;

it.each([
  [{}, true],
  [{ resolveImage: 'always' }, true],
  [{ resolveImage: 'changed' }, true],
  [{ resolveImage: 'never' }, false],
  [{ resolveImage: false }, false],
])('create with %o asks the registry: %s', (given, asks) => {
  expect(wishOfCreate('web', given)).toEqual({ image: 'web', asks });
});

it.each<[Given, object]>([
  [{}, { asks: false }],
  [{ image: 'web:1' }, { image: 'web:1', asks: true }],
  [{ image: 'web:2' }, { image: 'web:2', asks: true }],
  [{ resolveImage: 'always' }, { image: 'web:1', asks: true }],
  [{ resolveImage: 'changed' }, { asks: false }],
  [{ resolveImage: 'changed', image: 'web:1' }, { asks: false }],
  [{ resolveImage: 'changed', image: 'docker.io/library/web:1' }, { asks: false }],
  [
    { resolveImage: 'changed', image: `web:1@${DIGEST}` },
    { image: `web:1@${DIGEST}`, asks: true },
  ],
  [
    { resolveImage: 'changed', image: 'web:2' },
    { image: 'web:2', asks: true },
  ],
  [
    { resolveImage: 'never', image: 'web:2' },
    { image: 'web:2', asks: false },
  ],
  [
    { resolveImage: false, image: 'web:1' },
    { image: 'web:1', asks: false },
  ],
])('update with %o means %o', (given, wish) => {
  expect(wishOfUpdate(CURRENT, given)).toEqual(wish);
});

it('knows no other word', () => {
  expect(() => wishOfCreate('web', { resolveImage: 'often' })).toThrow(
    expect.objectContaining({ code: 'invalid', field: '--resolve-image' }),
  );
});
