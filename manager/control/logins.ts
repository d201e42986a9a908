/** Logins of registries: proved, then kept. */
import { ClusterError } from '../../common/errors.ts';
import { type RegistryPlace, serverPlace } from '../../common/registry/place.ts';
import type { Logins } from '../images/logins.ts';
import type { Registries } from '../images/registries.ts';

export interface LoginParts {
  readonly logins: Logins;
  readonly registries: Pick<Registries, 'prove'>;
}

export interface LoginWish {
  /** HOST[:PORT] or a URL; empty: Docker Hub. */
  readonly server: string;
  readonly username: string;
  readonly password: string;
}

/**
 * Keeps a login once its registry has taken it; the registry, as names of images have it.
 *
 * @throws ClusterError `invalid` (no registry, nothing given), `denied` when the registry refuses it, `unavailable`
 */
export async function login({ logins, registries }: LoginParts, wish: LoginWish, signal: AbortSignal): Promise<string> {
  const { server, username, password } = wish;
  const place = placeFor(server);
  for (const [field, text] of Object.entries({ username, password }))
    if (text === '') throw new ClusterError('invalid', `no ${field} given for registry ${place.registry}`, { field });
  // Source: RFC 7617, 2: the first colon ends the name.
  if (username.includes(':'))
    throw new ClusterError('invalid', `user name "${username}" has a colon`, { field: 'username' });
  await registries.prove(place, { username, password }, signal);
  await logins.keep(place.registry, { username, password }, signal);
  return place.registry;
}

/** The registry, and whether there was a login of it. @throws ClusterError `invalid` for what is no registry */
export async function logout(
  { logins }: LoginParts,
  server: string,
  signal: AbortSignal,
): Promise<{ registry: string; wasKnown: boolean }> {
  const { registry } = placeFor(server);
  return { registry, wasKnown: await logins.forget(registry, signal) };
}

function placeFor(server: string): RegistryPlace {
  const place = serverPlace(server);
  if (place !== undefined) return place;
  throw new ClusterError('invalid', `"${server.slice(0, 200)}" is no registry`, {
    field: 'server',
    hint: 'write HOST[:PORT], such as registry.example.org:5000',
  });
}
