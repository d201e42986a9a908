/** What a container finds in /etc/hosts, /etc/hostname and /etc/resolv.conf. Pure. */
import { isIPv4, isIPv6 } from 'node:net';

/** Where systemd-resolved keeps the real resolvers when /etc/resolv.conf names itself (127.0.0.53). Source: systemd-resolved(8). */
export const HOST_RESOLV_CONF = '/etc/resolv.conf';
export const SYSTEMD_RESOLV_CONF = '/run/systemd/resolve/resolv.conf';

/** Source: hosts(5). The container's own name stands on its address, so that it finds itself as others do. */
export function hostsFile(hostname: string, address: string): string {
  return [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'ff00::0\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    `${address}\t${namesOf(hostname)}`,
    '',
  ].join('\n');
}

export function hostnameFile(hostname: string): string {
  return `${hostname}\n`;
}

/**
 * The host's resolv.conf as a container can use it: a resolver on the host's loopback is out of its reach, so when the
 * host names none but such, systemd-resolved's own list is taken. Search domains and options are kept.
 * With no resolver at all the file says so, and names do not resolve.
 *
 * @param host     text of HOST_RESOLV_CONF; empty when there is none
 * @param systemd  text of SYSTEMD_RESOLV_CONF; empty when there is none
 */
export function resolvConf(host: string, systemd: string): string {
  const own = reachable(host);
  const lines = own.some(isNameserver) ? own : reachable(systemd);
  if (lines.some(isNameserver)) return `${lines.join('\n')}\n`;
  return `# the host names no resolver that a container can reach\n${own.map((line) => `${line}\n`).join('')}`;
}

/** The lines that mean something, without resolvers on the loopback interface. */
function reachable(text: string): readonly string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith(';'))
    .filter((line) => !isNameserver(line) || !isLoopback(line.split(/\s+/)[1] ?? ''));
}

function isNameserver(line: string): boolean {
  return /^nameserver\s/.test(line);
}

/** Also true for what is no address at all: no container could use it. */
function isLoopback(address: string): boolean {
  if (isIPv4(address)) return address.startsWith('127.') || address === '0.0.0.0';
  const [bare = ''] = address.split('%');
  return !isIPv6(bare) || bare === '::1' || bare === '::';
}

/** A name with a domain is known by its first part as well. */
function namesOf(hostname: string): string {
  const [first = hostname] = hostname.split('.');
  return first === hostname ? hostname : `${hostname} ${first}`;
}
