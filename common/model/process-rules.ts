/** What the processes of a container are and may do beyond the defaults: capabilities, limits, filters, init. */

/** One resource limit of setrlimit(2); -1 = unlimited. `name` as in `--ulimit`: `nofile`. */
export interface Ulimit {
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

/** Which system calls are let through. `profile` holds a profile's JSON, as seccomp-profile.ts reads it. */
export type SeccompRule =
  | { readonly kind: 'default' }
  | { readonly kind: 'unconfined' }
  | { readonly kind: 'profile'; readonly json: string };

/** Written by users. Absent in a template means DEFAULT_PROCESS_RULES. */
export interface ProcessRules {
  /** `CAP_…` names, sorted and unique; or `ALL` alone. None is in both lists. */
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  /** Sorted by name, which is unique. */
  readonly ulimits: readonly Ulimit[];
  /** Of the container's own namespaces: `net.…`, `kernel.shm…`, `kernel.msg…`, `kernel.sem`, `fs.mqueue.…`. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** An init reaps processes and hands signals on. */
  readonly init: boolean;
  /** -1000 to 1000 */
  readonly oomScoreAdj: number;
  /** Names by the image's /etc/group, or ids. */
  readonly groups: readonly string[];
  /** Of /dev/shm; 0 = 64 MiB. */
  readonly shmBytes: number;
  /** No program gains privileges by setuid or file capabilities. */
  readonly noNewPrivileges: boolean;
  /** All capabilities, no filter, nothing masked: the host is open to it. */
  readonly privileged: boolean;
  readonly seccomp: SeccompRule;
  /** Empty = none asked for. */
  readonly appArmorProfile: string;
  readonly seLinuxLabel: string;
}

export const DEFAULT_PROCESS_RULES: ProcessRules = {
  capAdd: [],
  capDrop: [],
  ulimits: [],
  sysctls: {},
  init: false,
  oomScoreAdj: 0,
  groups: [],
  shmBytes: 0,
  noNewPrivileges: true,
  privileged: false,
  seccomp: { kind: 'default' },
  appArmorProfile: '',
  seLinuxLabel: '',
};

/** In the kernel's order. Source: capabilities(7). */
export const CAPABILITIES: readonly string[] = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE ' +
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN ' +
  'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE ' +
  'MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

/** What a capability is called in a spec: `net_admin` is `CAP_NET_ADMIN`, `all` is `ALL`. Unknown names keep their letters. */
export function capabilityName(text: string): string {
  const upper = text.trim().toUpperCase();
  return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
}

/** The rules as they are stored: lists sorted, doubles gone, a capability that is added not dropped too. Twice is the same as once. */
export function normalProcessRules(rules: ProcessRules): ProcessRules {
  const capAdd = capabilityList(rules.capAdd);
  const dropped = capabilityList(rules.capDrop);
  return {
    ...rules,
    capAdd,
    capDrop: dropped.filter((name) => name === 'ALL' || !capAdd.includes(name)),
    ulimits: rules.ulimits.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
    sysctls: Object.fromEntries(Object.entries(rules.sysctls).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    groups: [...new Set(rules.groups)],
  };
}

/** True when they say what a template without them says. */
export function isDefaultProcess(rules: ProcessRules): boolean {
  return JSON.stringify({ ...DEFAULT_PROCESS_RULES, ...rules }) === JSON.stringify(DEFAULT_PROCESS_RULES);
}

function capabilityList(names: readonly string[]): readonly string[] {
  const all = names.map(capabilityName);
  return all.includes('ALL') ? ['ALL'] : [...new Set(all)].toSorted();
}
