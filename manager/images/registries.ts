/**
 * This manager's ways to registries: its settings of them and the cluster's logins go in, repositories to read or to write come
 * out. A login goes to the registry that it is for, never to that one's mirrors.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../../common/clock.ts';
import { ClusterError, messageOf } from '../../common/errors.ts';
import { parseReference } from '../../common/oci/reference.ts';
import type { Login, RegistryOptions } from '../../common/registry/endpoint.ts';
import { placeOf, type RegistryPlace } from '../../common/registry/place.ts';
import { proveLogin } from '../../common/registry/prove-login.ts';
import { Registry } from '../../common/registry/registry.ts';
import { Uploads } from '../../common/registry/uploads.ts';
import type { Logins } from './logins.ts';
import { MirroredRepository, type Mirrors, type Source } from './mirrors.ts';

export interface RegistrySettings {
  /** `HOST[:PORT]` of those that may be spoken to without TLS, or with a certificate that nobody vouches for. */
  readonly insecure: readonly string[];
  /** `DIR/HOST[:PORT]/ca.crt` is trusted for that registry, as in Docker's certs.d. */
  readonly certs: string;
  readonly mirrors: Mirrors;
}

export interface RegistriesOptions {
  readonly settings: RegistrySettings;
  readonly logins: Pick<Logins, 'of'>;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Registries {
  readonly #options: RegistriesOptions;

  constructor(options: RegistriesOptions) {
    this.#options = options;
  }

  /** The repository of an image's name, to read; the caller closes it. @throws ClusterError `unavailable` for a CA that cannot be read */
  async repository(name: string): Promise<MirroredRepository> {
    const { settings, log } = this.#options;
    const place = placeOf(name);
    const sources: Source[] = [];
    for (const { host, scheme } of settings.mirrors.get(place.registry) ?? []) {
      const mirror = { registry: host, host, scheme, repository: place.repository };
      const options = await this.#optionsFor(mirror, this.#options.logins.of(host));
      const isInsecure = options.isInsecure === true || scheme === 'http';
      // There is somebody else to ask: patience would only delay that.
      sources.push({ host, registry: new Registry({ ...options, isInsecure, tries: 1 }) });
    }
    const own = await this.#optionsFor(place, this.#options.logins.of(place.registry));
    sources.push({ host: place.host, registry: new Registry(own) });
    return new MirroredRepository(sources, log);
  }

  /** The repository of an image's name, to write; the caller closes it. */
  async uploads(name: string, mountFrom: readonly string[]): Promise<Uploads> {
    const place = placeOf(name);
    return new Uploads({ ...(await this.#optionsFor(place, this.#options.logins.of(place.registry))), mountFrom });
  }

  /** Every `NAME:TAG` that a name's registry has; its mirrors, which may have some of them, are not asked. @throws as Registry.tags */
  async references(name: string, signal: AbortSignal): Promise<readonly string[]> {
    const place = placeOf(name);
    const registry = new Registry(await this.#optionsFor(place, this.#options.logins.of(place.registry)));
    try {
      return (await registry.tags(signal)).map((tag) => parseReference(`${name}:${tag}`).reference);
    } finally {
      await registry.close();
    }
  }

  /** @throws ClusterError as proveLogin */
  async prove(place: RegistryPlace, login: Login, signal: AbortSignal): Promise<void> {
    await proveLogin(await this.#optionsFor(place, login), signal);
  }

  async #optionsFor(place: RegistryPlace, login: Login | undefined): Promise<RegistryOptions> {
    const { settings, clock } = this.#options;
    const ca = await readCa(join(settings.certs, place.registry, 'ca.crt'));
    const isInsecure = settings.insecure.includes(place.registry);
    return { place, isInsecure, clock, ...(ca === undefined ? {} : { ca }), ...(login === undefined ? {} : { login }) };
  }
}

async function readCa(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ClusterError('unavailable', `${path} cannot be read: ${messageOf(cause)}`, { cause });
  }
}
