/** The join token: `CVYTKN-1-<digest of the CA, base 36, 50 characters>-<secret, 25 characters>`. */
import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { ClusterError } from '../errors.ts';

const PREFIX = 'CVYTKN-1';
const DIGEST_LENGTH = 50;
const SHAPE = /^CVYTKN-1-([0-9a-z]{50})-([0-9a-z]{25})$/;

export interface JoinToken {
  /** As `caDigest` gives it. */
  readonly caDigest: string;
  readonly secret: string;
}

/** SHA-256 of the certificate's DER, base 36, left-padded to 50 characters. */
export function caDigest(der: Uint8Array): string {
  const hex = createHash('sha256').update(der).digest('hex');
  return BigInt(`0x${hex}`).toString(36).padStart(DIGEST_LENGTH, '0');
}

/** The token for a CA (PEM) and a secret. */
export function formatToken(ca: string, secret: string): string {
  return `${PREFIX}-${caDigest(new X509Certificate(ca).raw)}-${secret}`;
}

/** @throws ClusterError `invalid` when the text is no token; the text itself is never repeated */
export function parseToken(text: string): JoinToken {
  const parts = SHAPE.exec(text.trim());
  if (parts?.[1] === undefined || parts[2] === undefined) {
    throw new ClusterError('invalid', 'the join token is malformed', {
      field: 'token',
      hint: `copy it whole from \`covey cluster token\`; it begins with ${PREFIX}-`,
    });
  }
  return { caDigest: parts[1], secret: parts[2] };
}

/** Compares secrets in a time that does not tell how much of them is right. */
export function sameSecret(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}
