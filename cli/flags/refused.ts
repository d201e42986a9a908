/** Docker's flags that Covey does not have: refused by name, so that none is ever ignored. */

const SERVICE = [
  'config',
  'credential-spec',
  'dns',
  'dns-option',
  'dns-search',
  'endpoint-mode',
  'generic-resource',
  'host',
  'isolation',
  'max-concurrent',
  'memory-swap',
  'memory-swappiness',
  'mode',
  'mount',
  'network',
  'placement-pref',
  'secret',
  'with-registry-auth',
  'config-add',
  'config-rm',
  'dns-add',
  'dns-rm',
  'dns-option-add',
  'dns-option-rm',
  'dns-search-add',
  'dns-search-rm',
  'generic-resource-add',
  'generic-resource-rm',
  'host-add',
  'host-rm',
  'mount-add',
  'mount-rm',
  'network-add',
  'network-rm',
  'placement-pref-add',
  'placement-pref-rm',
  'secret-add',
  'secret-rm',
  'role',
  'pretty',
  'details',
  'no-task-ids',
  'raw',
  'no-trunc',
  'no-resolve',
  'filter',
];
/** Of `docker run`; the core has nothing to give them. */
const RUN = (
  'volume volumes-from mount tmpfs link link-local-ip device device-cgroup-rule device-read-bps device-read-iops device-write-bps ' +
  'device-write-iops add-host expose publish-all ip ip6 mac-address ipc pid uts cgroupns cgroup-parent cpu-shares cpuset-cpus ' +
  'cpuset-mems cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-count cpu-percent gpus runtime platform annotation label-file ' +
  'blkio-weight blkio-weight-device domainname kernel-memory memory-reservation oom-kill-disable network-alias attach ' +
  'disable-content-trust volume-driver io-maxbandwidth io-maxiops health-file use-api-socket'
).split(' ');
/** Of `docker build`. */
const BUILD = (
  'add-host annotation attest build-context builder cache-from cache-to cgroup-parent cgroupns compress cpu-period cpu-quota ' +
  'cpu-shares cpuset-cpus cpuset-mems disable-content-trust force-rm iidfile isolation load memory metadata-file no-cache-filter ' +
  'output platform provenance push rm sbom security-opt shm-size squash ssh ulimit'
).split(' ');
const SHORT = new Map([
  ['-f', 'filter'],
  ['-v', 'volume'],
  ['-P', 'publish-all'],
  ['-c', 'cpu-shares'],
  ['-a', 'attach'],
]);

/** What to say about commander's "unknown option" when it is Docker's; undefined when nobody knows it. */
export function refusalOf(message: string): string | undefined {
  const option = /unknown option '([^']+)'/.exec(message)?.[1]?.split('=')[0];
  if (option === undefined) return undefined;
  const name = SHORT.get(option) ?? option.replace(/^--/, '');
  if (!SERVICE.includes(name) && !RUN.includes(name) && !BUILD.includes(name)) return undefined;
  return `the flag ${option} is Docker's, but Covey does not have it here; nothing was done`;
}
