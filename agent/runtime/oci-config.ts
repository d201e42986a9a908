/**
 * A task's container as an OCI runtime-spec config. Pure: the same request gives the same config.
 *
 * Comes in: template, image, limits, resolved user, cgroup. Goes out: the config that the native core, or any OCI
 * runtime, takes. Defaults are Docker's. Source: OCI runtime-spec 1.2; moby, oci/defaults.go and oci/caps.
 */
import { ClusterError } from '../../common/errors.ts';
import type { ContainerTemplate, Limits } from '../../common/model/service.ts';
import { type OciResources, resourcesOf } from './oci-resources.ts';
import type { ContainerImage } from './runtime.ts';

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
}

export interface OciProcess {
  readonly terminal: false;
  readonly user: { readonly uid: number; readonly gid: number; readonly additionalGids: readonly number[] };
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly capabilities: Readonly<
    Record<'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient', readonly string[]>
  >;
  readonly noNewPrivileges: boolean;
  readonly oomScoreAdj: number;
}

export interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface OciConfig {
  readonly ociVersion: string;
  readonly process: OciProcess;
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly hostname: string;
  readonly mounts: readonly OciMount[];
  readonly linux: OciLinux;
}

export interface OciLinux {
  readonly namespaces: readonly { readonly type: string }[];
  readonly cgroupsPath: string;
  readonly resources: OciResources;
  readonly sysctl: Readonly<Record<string, string>>;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
}

/** What Docker gives every container, in its order. */
export const DEFAULT_CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
] as const;

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

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** @throws ClusterError `invalid` when neither template nor image names a command */
export function ociConfig(request: ConfigRequest): OciConfig {
  const { template, limits } = request;
  return {
    ociVersion: '1.0.2',
    process: processOf(request),
    root: { path: 'rootfs', readonly: template.readOnly },
    hostname: hostnameOf(request),
    mounts: [
      ...MOUNTS,
      ...request.files.map((file) => ({
        destination: file.target,
        type: 'bind',
        source: file.source,
        options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec', 'private'],
      })),
    ],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
      cgroupsPath: request.cgroup,
      resources: resourcesOf(limits),
      // Without privileges a web server binds port 80 and a probe can ping, as under Docker since 20.10.
      sysctl: { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' },
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  };
}

/** The same process with another command: what a health check runs. `env` is added to the container's own. */
export function execProcess(config: OciConfig, args: readonly string[], env: readonly string[]): OciProcess {
  return { ...config.process, args, env: mergeEnv(config.process.env, env) };
}

/** The command: the template's entrypoint drops the image's cmd, as with Docker. */
export function commandOf(image: ContainerImage, template: ContainerTemplate): readonly string[] {
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
  // Only root gets them at once; another user's programs may gain what is in the bounding set, and no_new_privs forbids that.
  const held = user.uid === 0 ? DEFAULT_CAPABILITIES : [];
  const base = [PATH, `HOSTNAME=${hostnameOf(request)}`, `HOME=${user.home}`];
  return {
    terminal: false,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args,
    env: mergeEnv(base, image.env, template.env),
    cwd: template.workdir ?? (image.workdir === '' ? '/' : image.workdir),
    capabilities: {
      bounding: DEFAULT_CAPABILITIES,
      effective: held,
      permitted: held,
      inheritable: [],
      ambient: [],
    },
    noNewPrivileges: true,
    oomScoreAdj: 0,
  };
}

function hostnameOf(request: ConfigRequest): string {
  return request.template.hostname ?? request.hostname;
}
