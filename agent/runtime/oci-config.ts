/**
 * A task's container as an OCI runtime-spec config. Pure: the same request gives the same config.
 *
 * Comes in: template, image, limits, resolved user, cgroup. Goes out: the config that the native core, or any OCI
 * runtime, takes. Defaults are Docker's. Source: OCI runtime-spec 1.2; moby, oci/defaults.go and oci/caps.
 */
import { ClusterError } from '../../common/errors.ts';
import { DEFAULT_PROCESS_RULES, type ProcessRules } from '../../common/model/process-rules.ts';
import { parseSeccompProfile } from '../../common/model/seccomp-profile.ts';
import type { ContainerTemplate, Limits } from '../../common/model/service.ts';
import { boundingSet, type CapabilitySets, capabilitySets, refuseUngrantable } from './capabilities.ts';
import type { OpenExecRequest } from './exec.ts';
import type { HostFacts } from './host-facts.ts';
import { type IdRange, RANGE_SIZE } from './id-ranges.ts';
import { type OciResources, resourcesOf } from './oci-resources.ts';
import type { ContainerDevice, ContainerImage, ContainerMount } from './runtime.ts';
import { type OciSeccomp, resolveSeccomp } from './seccomp.ts';

/** The user as ids; from the image's own /etc/passwd. */
export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  readonly home: string;
}

/** A file of the host to be seen in the container, read-only. */
export interface FileMount {
  readonly source: string;
  readonly target: string;
}

export interface ConfigRequest {
  readonly image: ContainerImage;
  readonly template: ContainerTemplate;
  readonly limits: Limits;
  readonly hostname: string;
  readonly user: ResolvedUser;
  /** Absolute cgroup path, below the root of every hierarchy. */
  readonly cgroup: string;
  readonly files: readonly FileMount[];
  readonly mounts?: readonly ContainerMount[];
  readonly devices?: readonly ContainerDevice[];
  readonly host: HostFacts;
  /** The host's ids that are the container's; absent: they are the same. */
  readonly ids?: IdRange;
  /** It has no network namespace of its own. */
  readonly hostNetwork?: true;
}

export interface OciProcess {
  readonly terminal: boolean;
  readonly user: { readonly uid: number; readonly gid: number; readonly additionalGids: readonly number[] };
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly capabilities: CapabilitySets;
  readonly rlimits: readonly { readonly type: string; readonly soft: number; readonly hard: number }[];
  readonly noNewPrivileges: boolean;
  readonly oomScoreAdj: number;
  readonly apparmorProfile?: string;
  readonly selinuxLabel?: string;
}

export type OciMount = ContainerMount;

export interface OciConfig {
  readonly ociVersion: string;
  readonly process: OciProcess;
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly hostname: string;
  readonly mounts: readonly OciMount[];
  readonly linux: OciLinux;
}

type OciDevice = Omit<ContainerDevice, 'access'>;

export interface OciIdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

export interface OciLinux {
  readonly devices?: readonly OciDevice[];
  readonly namespaces: readonly { readonly type: string }[];
  readonly uidMappings?: readonly OciIdMapping[];
  readonly gidMappings?: readonly OciIdMapping[];
  readonly cgroupsPath: string;
  readonly resources: OciResources;
  readonly sysctl: Readonly<Record<string, string>>;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  /** Absent: every system call is let through. */
  readonly seccomp?: OciSeccomp;
}

const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const MOUNTS: readonly OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
];

const NAMESPACES = ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type }));
/** The last one that may be in ping_group_range. */
const GROUP_MAX = 2_147_483_647;
const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** @throws ClusterError `invalid` when neither template nor image names a command, or what is asked for cannot be given here */
export function ociConfig(request: ConfigRequest): OciConfig {
  const { template, limits } = request;
  const rules = template.process ?? DEFAULT_PROCESS_RULES;
  const seccomp = seccompOf(rules, request.host);
  // In a user namespace of its own every capability can be given: it counts in there only.
  if (request.ids === undefined) refuseUngrantable(rules, request.host.capabilities);
  return {
    ociVersion: '1.0.2',
    process: processOf(request),
    root: { path: 'rootfs', readonly: template.readOnly },
    hostname: hostnameOf(request),
    mounts: mountsOf(request, rules),
    linux: {
      ...(request.devices === undefined
        ? {}
        : { devices: request.devices.map(({ access: _access, ...node }) => node) }),
      ...namespacesOf(request),
      cgroupsPath: request.cgroup,
      resources: allowed(resourcesOf(limits, rules.privileged ? 'all' : 'none'), request.devices ?? []),
      // Without privileges a web server binds port 80 and a probe can ping, as under Docker since 20.10.
      sysctl: { ...networkSysctls(request), ...rules.sysctls },
      maskedPaths: rules.privileged ? [] : MASKED_PATHS,
      readonlyPaths: rules.privileged ? [] : READONLY_PATHS,
      ...(seccomp === undefined ? {} : { seccomp }),
    },
  };
}

/** What a user mounts takes the place of what would be there. Source: moby, daemon/oci_linux.go. */
function mountsOf({ mounts = [], files, ids }: ConfigRequest, rules: ProcessRules): readonly OciMount[] {
  const taken = new Set(mounts.map(({ destination }) => destination));
  const isFree = ({ destination }: OciMount): boolean => !taken.has(destination);
  const idmap = ids === undefined ? [] : ['idmap'];
  const placed = files.map(({ target, source }) => ({
    destination: target,
    type: 'bind',
    source,
    options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec', 'private', ...idmap],
  }));
  return [
    ...MOUNTS.filter(isFree).map((mount) => mountOf(mount, rules)),
    ...(ids === undefined ? mounts.map(unmapped) : mounts),
    ...placed.filter(isFree),
  ];
}

/** Without a user namespace ids are the host's everywhere. */
function unmapped(mount: OciMount): OciMount {
  return { ...mount, options: mount.options.filter((option) => option !== 'idmap' && option !== 'ridmap') };
}

function allowed(resources: OciResources, devices: readonly ContainerDevice[]): OciResources {
  const rules = devices.map(({ type, major, minor, access }) => ({ allow: true, type, major, minor, access }));
  return { ...resources, devices: [...resources.devices, ...rules] };
}

/** @throws ClusterError `invalid` for the host's network in a user namespace, which owns nothing of it: not even /sys can be mounted */
function namespacesOf({
  ids,
  hostNetwork,
}: ConfigRequest): Pick<OciLinux, 'namespaces' | 'uidMappings' | 'gidMappings'> {
  const namespaces = NAMESPACES.filter(({ type }) => type !== 'network' || hostNetwork !== true);
  if (ids === undefined) return { namespaces };
  if (hostNetwork === true) {
    throw new ClusterError('invalid', 'the host’s network cannot be shared from a user namespace of its own', {
      field: 'network',
      hint: 'add --userns host: root in the container is then root of the host',
    });
  }
  const mappings = [{ containerID: 0, hostID: ids.base, size: RANGE_SIZE }];
  return { namespaces: [...namespaces, { type: 'user' }], uidMappings: mappings, gidMappings: mappings };
}

/** The host's own are not the container's to set. */
function networkSysctls({ ids, hostNetwork }: ConfigRequest): Readonly<Record<string, string>> {
  if (hostNetwork === true) return {};
  return {
    'net.ipv4.ip_unprivileged_port_start': '0',
    'net.ipv4.ping_group_range': `0 ${ids === undefined ? GROUP_MAX : RANGE_SIZE - 1}`,
  };
}

/** What the addon takes for one more command: the container's process with other words, and its system call filter. */
export interface ExecConfig {
  readonly process: OciProcess;
  readonly linux: Pick<OciLinux, 'seccomp'>;
}

/** The same process with another command: what a health check runs. `env` is added to the container's own. */
export function execConfig(config: OciConfig, args: readonly string[], env: readonly string[]): ExecConfig {
  return withProcess(config, { ...config.process, terminal: false, args, env: mergeEnv(config.process.env, env) });
}

/** The same process with a user's command, and another user and folder when those are wanted. */
export function userConfig(
  config: OciConfig,
  request: Pick<OpenExecRequest, 'args' | 'env' | 'workdir' | 'terminal'>,
  user?: ResolvedUser,
): ExecConfig {
  const { process } = config;
  const { args, env, workdir, terminal } = request;
  const base = [
    ...(terminal === undefined ? [] : ['TERM=xterm']),
    ...(user === undefined ? [] : [`HOME=${user.home}`]),
  ];
  const own = {
    ...process,
    terminal: false,
    args,
    env: mergeEnv(process.env, base, env),
    ...(workdir === undefined ? {} : { cwd: workdir }),
  };
  if (user === undefined) return withProcess(config, own);
  const { uid, gid, additionalGids } = user;
  const { bounding, ambient } = process.capabilities;
  const held = uid === 0 ? bounding : ambient;
  const capabilities = { ...process.capabilities, effective: held, permitted: held };
  return withProcess(config, { ...own, user: { uid, gid, additionalGids }, capabilities });
}

function withProcess({ linux: { seccomp } }: OciConfig, process: OciProcess): ExecConfig {
  return { process, linux: seccomp === undefined ? {} : { seccomp } };
}

/** The command: the template's entrypoint drops the image's cmd, as with Docker. */
export function commandOf(
  image: Pick<ContainerImage, 'entrypoint' | 'cmd'>,
  template: Pick<ContainerTemplate, 'entrypoint' | 'args'>,
): readonly string[] {
  const entrypoint = template.entrypoint ?? image.entrypoint;
  const args = template.args ?? (template.entrypoint === undefined ? image.cmd : []);
  return [...entrypoint, ...args];
}

/** Later entries win; order of first appearance is kept. */
export function mergeEnv(...lists: readonly (readonly string[])[]): readonly string[] {
  const merged = new Map<string, string>();
  for (const entry of lists.flat()) merged.set(entry.split('=', 1)[0] ?? entry, entry);
  return [...merged.values()];
}

function processOf(request: ConfigRequest): OciProcess {
  const { image, template, user } = request;
  const args = commandOf(image, template);
  if (args.length === 0 || args[0] === '') {
    throw new ClusterError('invalid', `image "${template.image}" names no command`, {
      field: 'container.args',
      hint: 'give a command after the image, or set --entrypoint',
    });
  }
  const rules = template.process ?? DEFAULT_PROCESS_RULES;
  const base = [
    PATH,
    `HOSTNAME=${hostnameOf(request)}`,
    `HOME=${user.home}`,
    ...(template.tty === true ? ['TERM=xterm'] : []),
  ];
  return {
    terminal: template.tty ?? false,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args,
    env: mergeEnv(base, image.env, template.env),
    cwd: template.workdir ?? (image.workdir === '' ? '/' : image.workdir),
    capabilities: capabilitySets(rules, user.uid),
    rlimits: rules.ulimits.map(({ name, soft, hard }) => ({ type: `RLIMIT_${name.toUpperCase()}`, soft, hard })),
    noNewPrivileges: rules.noNewPrivileges,
    oomScoreAdj: rules.oomScoreAdj,
    ...(rules.appArmorProfile === '' ? {} : { apparmorProfile: rules.appArmorProfile }),
    ...(rules.seLinuxLabel === '' ? {} : { selinuxLabel: rules.seLinuxLabel }),
  };
}

/** @throws ClusterError `invalid` for a profile that cannot be read; the manager has refused it before */
function seccompOf(rules: ProcessRules, host: HostFacts): OciSeccomp | undefined {
  if (rules.privileged || rules.seccomp.kind === 'unconfined') return undefined;
  const capabilities = boundingSet(rules);
  if (rules.seccomp.kind === 'default') return resolveSeccomp(host.defaultSeccomp, host, capabilities);
  const parsed = parseSeccompProfile(rules.seccomp.json);
  if ('profile' in parsed) return resolveSeccomp(parsed.profile, host, capabilities);
  throw new ClusterError('invalid', `the seccomp profile ${parsed.flaw}`, { field: 'container.process.seccomp' });
}

function mountOf(mount: OciMount, rules: ProcessRules): OciMount {
  const { options } = mount;
  if (mount.destination === '/dev/shm' && rules.shmBytes > 0)
    return { ...mount, options: options.map((each) => (each.startsWith('size=') ? `size=${rules.shmBytes}` : each)) };
  if (rules.privileged && mount.destination.startsWith('/sys'))
    return { ...mount, options: options.filter((each) => each !== 'ro') };
  return mount;
}

function hostnameOf(request: ConfigRequest): string {
  return request.template.hostname ?? request.hostname;
}
