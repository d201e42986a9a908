/** Where an image's name leads: the registry's host and the repository there. */

export interface RegistryPlace {
  /** As the user wrote it, `docker.io` for Docker Hub: what credentials and settings go by. */
  readonly registry: string;
  /** `HOST[:PORT]` that is spoken to. */
  readonly host: string;
  readonly repository: string;
  /** Absent: https, and http where that is not spoken and need not be. */
  readonly scheme?: 'http' | 'https';
}

export const HUB = 'docker.io';
/** Hub's name and the host of its API differ. Source: distribution/reference, normalize.go. */
const HUB_HOST = 'registry-1.docker.io';
/** All that Docker's commands take for Hub, the address of its first API among them. */
const HUB_NAMES = [HUB, 'index.docker.io', HUB_HOST];

/**
 * The place of a name as `parseReference` gives it. Its first part is a host when it has a dot, a port or capitals, or is
 * `localhost`; everything else is Docker Hub's, and what has one part only lies in `library/`.
 * Source: distribution/reference, normalize.go, splitDockerDomain.
 */
export function placeOf(name: string): RegistryPlace {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  if (first !== '' && isHost(first)) return { registry: first, host: first, repository: name.slice(slash + 1) };
  return { registry: HUB, host: HUB_HOST, repository: slash === -1 ? `library/${name}` : name };
}

/**
 * The registry that a user names to log in: a host, or a URL, of which everything but the host is left out.
 *
 * @param server  empty: Docker Hub
 * @returns undefined when it is no host
 * Source: moby, registry/auth.go, ConvertToHostname.
 */
export function serverPlace(server: string): RegistryPlace | undefined {
  const registry = server.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  if (server === '' || HUB_NAMES.includes(registry)) return { registry: HUB, host: HUB_HOST, repository: '' };
  return /^(?:[\w.-]+|\[[\da-fA-F:]+\])(?::\d{1,5})?$/.test(registry)
    ? { registry, host: registry, repository: '' }
    : undefined;
}

function isHost(part: string): boolean {
  return part === 'localhost' || /[.:A-Z]/.test(part);
}

/** Whether it is this machine itself: Docker speaks to registries there without TLS. Source: dockerd, insecure registries. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, '');
  return name === 'localhost' || /^127\.\d+\.\d+\.\d+$/.test(name);
}
