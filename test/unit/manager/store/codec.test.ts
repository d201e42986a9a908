import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ALL_KINDS } from '../../../../manager/store/cache.ts';
import { decode, encode } from '../../../../manager/store/codec.ts';
import { Keys } from '../../../../manager/store/keys.ts';
import { covey } from '../../../../proto/messages.ts';
import { arbitrary } from '../../../support/arbitrary.ts';
import { aTask } from '../../../support/objects.ts';

describe('a stored value', () => {
  it.each(ALL_KINDS)('of kind %s is read as it was written', (kind) => {
    fc.assert(
      fc.property(arbitrary(kind), (value) => {
        expect(decode(kind, 'x', encode(kind, value))).toStrictEqual(value);
      }),
    );
  });

  it('that is damaged names its kind and id', () => {
    expect(() => decode('task', 'abc', Uint8Array.of(0xff, 0xff))).toThrow(/stored task "abc" cannot be read/);
  });

  it('with a word that this version does not know is refused', () => {
    const bytes = covey.v1.Task.encode({ id: 'abc', desired: 'dancing', restarts: {} }).finish();
    expect(() => decode('task', 'abc', bytes)).toThrow(/stored task "abc" cannot be read: desired is "dancing"/);
  });

  it('with a number beyond 2^53 is refused', () => {
    const bytes = encode('task', { ...aTask('abc'), createdAt: 2 ** 53 });
    expect(() => decode('task', 'abc', bytes)).toThrow(/createdAt/);
  });
});

describe('a key', () => {
  const keys = new Keys('covey');

  it('is read as the kind and id it was made from, slashes in the id included', () => {
    expect(keys.of('name', 'service/web')).toBe('/covey/name/service/web');
    for (const id of ['service/web', 'library/nginx:1', 'a']) {
      expect(keys.parse(keys.of('image', id))).toEqual({ kind: 'image', id });
    }
  });

  it('of another cluster or of an unknown kind is none of ours', () => {
    expect(keys.parse('/covey2/task/a')).toBeUndefined();
    expect(keys.parse('/covey/ballet/a')).toBeUndefined();
    expect(keys.parse('/covey/task')).toBeUndefined();
  });

  it('has a prefix that is a name', () => {
    expect(() => new Keys('a/b')).toThrow(/no name/);
    expect(() => new Keys('')).toThrow(/no name/);
  });
});
