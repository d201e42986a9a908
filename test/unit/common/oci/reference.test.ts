import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClusterError } from '../../../../common/errors.ts';
import { bareName, parseReference } from '../../../../common/oci/reference.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

describe('image references', () => {
  it.each([
    ['web:1', 'web:1'],
    ['web', 'web:latest'],
    ['docker.io/library/web:1', 'web:1'],
    ['index.docker.io/library/web', 'web:latest'],
    ['docker.io/me/web:1', 'me/web:1'],
    ['docker.io/quay.io/web', 'docker.io/quay.io/web:latest'],
    ['index.docker.io/docker.io/library/web', 'docker.io/docker.io/library/web:latest'],
    ['localhost:5000/web', 'localhost:5000/web:latest'],
    ['registry.example.com:5000/a/b_c/d-e:v1.2', 'registry.example.com:5000/a/b_c/d-e:v1.2'],
    [`web:1@${DIGEST}`, 'web:1'],
  ])('reads %s as %s', (text, reference) => {
    expect(parseReference(text).reference).toBe(reference);
  });

  it('of all tags are names alone', () => {
    expect(bareName('docker.io/library/web')).toBe('web');
    expect(bareName('localhost:5000/web')).toBe('localhost:5000/web');
    for (const text of ['web:1', `web@${DIGEST}`, 'localhost:5000/web:1'])
      expect(() => bareName(text)).toThrow("tag can't be used with --all-tags/-a");
  });

  it('keeps the digest that an image is pinned to', () => {
    expect(parseReference(`web@${DIGEST}`)).toEqual({
      reference: 'web:latest',
      name: 'web',
      tag: 'latest',
      digest: DIGEST,
    });
  });

  it.each([
    '',
    ':1',
    'Web:1',
    'web:',
    'web:a b',
    'web@sha256:1',
    '/web',
    'web/',
    'a//b',
    '../web',
    'web:1:2',
    `${'a'.repeat(256)}:1`,
  ])('refuses %j, naming the field', (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'invalid', field: 'image' }));
  });

  it('ends in a reference or a ClusterError for any text, and reads its own answer the same way', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), (text) => {
        try {
          const { reference } = parseReference(text);
          expect(parseReference(reference).reference).toBe(reference);
        } catch (error) {
          expect(error).toBeInstanceOf(ClusterError);
        }
      }),
    );
  });
});
