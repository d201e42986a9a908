/** From a profile with conditions to the one that holds for a container on this host. Pure. */
import type {
  SeccompArgument,
  SeccompCondition,
  SeccompProfile,
  SeccompSyscalls,
} from '../../common/model/seccomp-profile.ts';

/** `linux.seccomp` of an OCI config. */
export interface OciSeccomp {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures: readonly string[];
  readonly flags?: readonly string[];
  readonly syscalls: readonly {
    readonly names: readonly string[];
    readonly action: string;
    readonly errnoRet?: number;
    readonly args?: readonly SeccompArgument[];
  }[];
}

/** What conditions are asked about. */
export interface SeccompHost {
  /** As in `uname -r`. */
  readonly kernel: string;
  /** Node's name: `x64`, `arm64`. */
  readonly arch: string;
}

/** Docker's word in conditions and libseccomp's in maps, by Node's name. */
const ARCHITECTURES: Readonly<Record<string, readonly [docker: string, seccomp: string]>> = {
  x64: ['amd64', 'SCMP_ARCH_X86_64'],
  arm64: ['arm64', 'SCMP_ARCH_AARCH64'],
};

/** What was resolved of a profile, by what was asked of it: most containers ask the same, and a profile has 400 rules. */
const resolved = new WeakMap<SeccompProfile, Map<string, OciSeccomp>>();
/** More sets of capabilities than one host's services have. */
const SETS_KEPT = 32;

/**
 * Rules whose conditions do not hold are gone, conditions with them. The same question gives the same object.
 * @param capabilities  the container's bounding set
 */
export function resolveSeccomp(
  profile: SeccompProfile,
  host: SeccompHost,
  capabilities: readonly string[],
): OciSeccomp {
  const key = [host.arch, host.kernel, ...capabilities].join(' ');
  const known = resolved.get(profile) ?? new Map<string, OciSeccomp>();
  const found = known.get(key) ?? resolve(profile, host, capabilities);
  if (known.size >= SETS_KEPT) known.clear();
  resolved.set(profile, known.set(key, found));
  return found;
}

function resolve(profile: SeccompProfile, host: SeccompHost, capabilities: readonly string[]): OciSeccomp {
  const [docker, own] = ARCHITECTURES[host.arch] ?? [host.arch, ''];
  const mapped = profile.archMap.find(({ architecture }) => architecture === own);
  const asked = { arch: docker, kernel: host.kernel, capabilities };
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: mapped === undefined ? profile.architectures : [mapped.architecture, ...mapped.subArchitectures],
    ...(profile.flags.length === 0 ? {} : { flags: profile.flags }),
    syscalls: profile.syscalls
      .filter(({ includes, excludes }) => isIncluded(includes, asked) && !isExcluded(excludes, asked))
      .map(ruleOf),
  };
}

interface Asked {
  readonly arch: string;
  readonly kernel: string;
  readonly capabilities: readonly string[];
}

function isIncluded({ arches, caps, minKernel }: SeccompCondition, asked: Asked): boolean {
  return (
    (arches.length === 0 || arches.includes(asked.arch)) &&
    caps.every((name) => asked.capabilities.includes(name)) &&
    (minKernel === undefined || isAtLeast(asked.kernel, minKernel))
  );
}

function isExcluded({ arches, caps, minKernel }: SeccompCondition, asked: Asked): boolean {
  return (
    arches.includes(asked.arch) ||
    caps.some((name) => asked.capabilities.includes(name)) ||
    (minKernel !== undefined && isAtLeast(asked.kernel, minKernel))
  );
}

function isAtLeast(kernel: string, least: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  const [wantedMajor = 0, wantedMinor = 0] = least.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function ruleOf({ names, action, errnoRet, args }: SeccompSyscalls): OciSeccomp['syscalls'][number] {
  return {
    names,
    action,
    ...(errnoRet === undefined ? {} : { errnoRet }),
    ...(args.length === 0 ? {} : { args }),
  };
}
