/** The sysctls a host needs, in its own network namespace: what they must be, and writing them. */
import { readFile, writeFile } from 'node:fs/promises';

/** Path below /proc/sys -> value. */
export type Sysctls = Readonly<Record<string, string>>;

const ROOT = '/proc/sys/';

/** What can be said without looking. `uplink` is the interface with the host's address. */
export function fixedSysctls(uplink: string): Sysctls {
  return {
    'net/ipv4/ip_forward': '1',
    // 127.0.0.1:PORT is sent to containers; the table's guard keeps others from using it.
    'net/ipv4/conf/all/route_localnet': '1',
    // An ingress host forwards out of the interface a packet came in by; nobody is to be told a shorter way.
    'net/ipv4/conf/all/send_redirects': '0',
    [`net/ipv4/conf/${uplink}/send_redirects`]: '0',
  };
}

/**
 * Strict reverse-path filtering drops what an ingress host passes on, when the client is routed elsewhere: it is made
 * loose where it is strict. The higher of the two values counts. Source: kernel, ip-sysctl, rp_filter.
 */
export function looserFilter(uplink: string, all: string, own: string): Sysctls {
  return Math.max(Number(all), Number(own)) === 1 ? { [`net/ipv4/conf/${uplink}/rp_filter`]: '2' } : {};
}

/** All that `uplink` needs, given what is set now. */
export async function neededSysctls(uplink: string): Promise<Sysctls> {
  const all = await readSysctl('net/ipv4/conf/all/rp_filter');
  const own = await readSysctl(`net/ipv4/conf/${uplink}/rp_filter`);
  return { ...fixedSysctls(uplink), ...looserFilter(uplink, all ?? '0', own ?? '0') };
}

/** The present values of those that differ from `wanted`. */
export async function differing(wanted: Sysctls): Promise<Sysctls> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(wanted)) {
    const now = await readSysctl(name);
    if (now !== undefined && now !== value) found[name] = now;
  }
  return found;
}

/** Writes them; one whose interface is gone is left out. */
export async function writeSysctls(values: Sysctls): Promise<void> {
  for (const [name, value] of Object.entries(values)) {
    if ((await readSysctl(name)) !== undefined) await writeFile(ROOT + name, value);
  }
}

async function readSysctl(name: string): Promise<string | undefined> {
  try {
    return (await readFile(ROOT + name, 'utf8')).trim();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
}
