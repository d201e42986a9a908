/** Digests of bytes, and streams that prove theirs. */
import { createHash } from 'node:crypto';
import { ClusterError } from '../errors.ts';
import type { Digest } from '../model/ids.ts';

/** SHA-256 of all of `bytes`. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** What a stream of bytes has to be. */
export interface Expected {
  readonly digest: Digest;
  readonly size: number;
  /** What errors call it, such as `blob sha256:…`. */
  readonly name: string;
}

/**
 * Passes `source` on; after its last byte it throws unless digest and size are as expected, and at once when it gets too
 * long. What was passed on before is therefore not to be believed until the end.
 *
 * @throws ClusterError `invalid`
 */
export async function* verified(source: AsyncIterable<Uint8Array>, expected: Expected): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > expected.size) throw wrongSize(expected, `more than ${expected.size}`);
    hash.update(chunk);
    yield chunk;
  }
  if (size !== expected.size) throw wrongSize(expected, `${size} instead of ${expected.size}`);
  const digest = `sha256:${hash.digest('hex')}`;
  if (digest !== expected.digest) throw wrongDigest(expected, digest);
}

/** The error for bytes that are not what their digest says. */
export function wrongDigest(expected: { readonly name: string; readonly digest: Digest }, found: string): ClusterError {
  return new ClusterError(
    'invalid',
    `${expected.name} is corrupt: its digest should be ${expected.digest} and is ${found}`,
    {
      hint: 'export or copy the image again',
    },
  );
}

function wrongSize(expected: Expected, found: string): ClusterError {
  return new ClusterError('invalid', `${expected.name} is corrupt: it has ${found} bytes`, {
    hint: 'export or copy the image again',
  });
}
