/** This manager's settings of registries, and the way to one. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { ClusterError, messageOf } from '../../common/errors.ts';
import { placeOf } from '../../common/registry/place.ts';
import { Registry } from '../../common/registry/registry.ts';

export interface RegistrySettings {
  /** `HOST[:PORT]` of those that may be spoken to without TLS, or with a certificate that nobody vouches for. */
  readonly insecure: readonly string[];
  /** `DIR/HOST[:PORT]/ca.crt` is trusted for that registry, as in Docker's certs.d. */
  readonly certs: string;
}

/** The repository of an image's name; the caller closes it. @throws ClusterError `unavailable` for a CA that cannot be read */
export async function openRepository(name: string, settings: RegistrySettings, clock: Clock): Promise<Registry> {
  const place = placeOf(name);
  const ca = await readCa(join(settings.certs, place.registry, 'ca.crt'));
  const isInsecure = settings.insecure.includes(place.registry);
  return new Registry({ place, isInsecure, clock, ...(ca === undefined ? {} : { ca }) });
}

async function readCa(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ClusterError('unavailable', `${path} cannot be read: ${messageOf(cause)}`, { cause });
  }
}
