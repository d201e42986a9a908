/** Digests of bytes, and the error for those that are not theirs. */
import { createHash } from 'node:crypto';
import { ClusterError } from '../errors.ts';
import type { Digest } from '../model/ids.ts';

/** SHA-256 of all of `bytes`. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
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
