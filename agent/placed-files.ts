/** The files that the host puts into each container: names and resolvers, as they are when the container is made. */
import { readFile } from 'node:fs/promises';
import type { Assignment } from './assignment.ts';
import { hostnameOf } from './container-request.ts';
import { HOST_RESOLV_CONF, hostnameFile, hostsFile, resolvConf, SYSTEMD_RESOLV_CONF } from './network/names-files.ts';
import type { PlacedFile } from './runtime/runtime.ts';

/** /etc/hosts, /etc/hostname and /etc/resolv.conf of a task. */
export async function placedFiles(held: Assignment): Promise<readonly PlacedFile[]> {
  return await namesFiles(hostnameOf(held), held.task.address ?? '127.0.1.1');
}

/** The same three for any container. */
export async function namesFiles(hostname: string, address: string): Promise<readonly PlacedFile[]> {
  const [own, systemd] = await Promise.all([textOf(HOST_RESOLV_CONF), textOf(SYSTEMD_RESOLV_CONF)]);
  return [
    { target: '/etc/hosts', content: hostsFile(hostname, address) },
    { target: '/etc/hostname', content: hostnameFile(hostname) },
    { target: '/etc/resolv.conf', content: resolvConf(own, systemd) },
  ];
}

/** Empty for a file that is not there: a host without resolvers is a host all the same. */
async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}
