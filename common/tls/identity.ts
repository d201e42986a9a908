/** A program's own key and certificate on disk: one file, written whole, readable by its owner only. */
import { X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { TlsMaterial } from '../../proto/rpc.ts';
import { ClusterError, messageOf } from '../errors.ts';
import type { Instant } from '../model/ids.ts';

export interface Identity extends TlsMaterial {
  readonly clusterId: string;
  /** Node, manager or client id: the certificate's common name. */
  readonly id: string;
  /** Where managers were last known to be, HOST:PORT. */
  readonly managers: readonly string[];
}

/** Undefined when there is no file. @throws ClusterError `invalid` naming the file when it is damaged */
export async function readIdentity(path: string): Promise<Identity | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ClusterError('internal', `cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
  try {
    const identity = JSON.parse(text) as Identity;
    new X509Certificate(identity.certificate);
    if (typeof identity.key !== 'string' || !Array.isArray(identity.managers)) throw new Error('fields are missing');
    return identity;
  } catch (cause) {
    throw new ClusterError('invalid', `${path} is damaged: ${messageOf(cause)}`, {
      hint: 'restore it from a backup, or remove it and join again',
      cause,
    });
  }
}

/** Replaces the file at once: after a crash either the old or the new identity is there. Mode 0600. */
export async function writeIdentity(path: string, identity: Identity): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.new`;
  const file = await open(draft, 'w', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(identity, undefined, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
}

/** When the certificate ends. */
export function expiryOf(material: TlsMaterial): Instant {
  return Date.parse(new X509Certificate(material.certificate).validTo);
}

/**
 * When to renew: a point between 50 and 80 % of the certificate's life, so that nodes joined together do not renew together.
 * @param fraction 0…1, random
 */
export function renewalAt(material: TlsMaterial, fraction: number): Instant {
  const certificate = new X509Certificate(material.certificate);
  const from = Date.parse(certificate.validFrom);
  const life = Date.parse(certificate.validTo) - from;
  return from + life * (0.5 + 0.3 * fraction);
}
