/** What the process part of a spec may say. Pure: a flaw comes out, or nothing. */
import { CAPABILITIES, capabilityName, type ProcessRules, type SeccompRule, type Ulimit } from './process-rules.ts';
import { parseSeccompProfile } from './seccomp-profile.ts';
import { type Flaw, firstFlaw, flawOfEach, textFlaw, wholeFlaw } from './spec-flaw.ts';

/** Source: setrlimit(2), in Docker's spelling. */
export const ULIMITS: readonly string[] =
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' ');

const GROUPS_MAX = 100;
const SYSCTL_VALUE_MAX_BYTES = 4_096;
/** 64 GiB: more shared memory than that is a typing error. */
const SHM_MAX = 2 ** 36;
const SHM_MIN = 4_096;
/** What a namespace of the container keeps for it. Source: namespaces(7), Docker's `--sysctl`. */
const OWN_SYSCTL =
  /^(?:net|fs\.mqueue)\.[A-Za-z0-9_.:-]+$|^kernel\.(?:msg(?:max|mnb|mni)|sem|shm(?:all|max|mni|_rmid_forced))$/;

/** The first flaw; fields begin with `at`. */
export function processFlaw(rules: ProcessRules, at: string): Flaw | undefined {
  const field = (name: string): string => `${at}.${name}`;
  return firstFlaw(
    () => capabilitiesFlaw(rules.capAdd, field('capAdd')),
    () => capabilitiesFlaw(rules.capDrop, field('capDrop')),
    () => ulimitsFlaw(rules.ulimits, field('ulimits')),
    () => flawOfEach(Object.entries(rules.sysctls), ([name, value]) => sysctlFlaw(name, value, field('sysctls'))),
    () => wholeFlaw(rules.oomScoreAdj, field('oomScoreAdj'), -1000, 1000),
    () => groupsFlaw(rules.groups, field('groups')),
    () => (rules.shmBytes === 0 ? undefined : wholeFlaw(rules.shmBytes, field('shmBytes'), SHM_MIN, SHM_MAX)),
    () => seccompFlaw(rules.seccomp, field('seccomp')),
    () => labelFlaw(rules.appArmorProfile, field('appArmorProfile')),
    () => labelFlaw(rules.seLinuxLabel, field('seLinuxLabel')),
    () => (rules.privileged ? privilegedFlaw(rules, at) : undefined),
  );
}

function capabilitiesFlaw(names: readonly string[], field: string): Flaw | undefined {
  return flawOfEach(names, (name) => {
    const known = capabilityName(name);
    if (known === 'ALL' || CAPABILITIES.includes(known)) return undefined;
    const hint = 'name one of capabilities(7), such as NET_ADMIN, or ALL';
    return { message: `capability "${printable(name)}" is unknown`, field, hint };
  });
}

function ulimitsFlaw(limits: readonly Ulimit[], field: string): Flaw | undefined {
  const names = new Set<string>();
  return flawOfEach(limits, ({ name, soft, hard }) => {
    const at = `${field}[${printable(name)}]`;
    if (!ULIMITS.includes(name))
      return { message: `limit "${printable(name)}" is unknown`, field, hint: `name one of ${ULIMITS.join(', ')}` };
    if (names.has(name)) return { message: `limit "${name}" is given twice`, field: at, hint: 'give it once' };
    names.add(name);
    const range = wholeFlaw(soft, at, -1, Number.MAX_SAFE_INTEGER) ?? wholeFlaw(hard, at, -1, Number.MAX_SAFE_INTEGER);
    if (range !== undefined) return range;
    if (hard === -1 || (soft !== -1 && soft <= hard)) return undefined;
    return {
      message: `limit "${name}": soft ${soft} is above hard ${hard}`,
      field: at,
      hint: 'give SOFT:HARD with soft at most hard; -1 is unlimited',
    };
  });
}

function sysctlFlaw(name: string, value: string, field: string): Flaw | undefined {
  if (!OWN_SYSCTL.test(name) || name.includes('..') || name.endsWith('.')) {
    return {
      message: `sysctl "${printable(name)}" is the host's, not a container's`,
      field,
      hint: 'only net.*, fs.mqueue.*, kernel.shm*, kernel.msg* and kernel.sem are kept per container',
    };
  }
  if (value === '') return { message: `sysctl "${name}" has no value`, field, hint: 'write NAME=VALUE' };
  return textFlaw(value, `${field}[${name}]`, SYSCTL_VALUE_MAX_BYTES);
}

function groupsFlaw(groups: readonly string[], field: string): Flaw | undefined {
  if (groups.length > GROUPS_MAX)
    return { message: `${groups.length} groups are too many`, field, hint: `give at most ${GROUPS_MAX}` };
  return flawOfEach(groups, (group) => {
    const good = /^(?:[0-9]{1,10}|[A-Za-z_][A-Za-z0-9_.-]{0,254}\$?)$/.test(group);
    if (good && !(Number(group) > 0xffff_fffe)) return undefined;
    return { message: `group "${printable(group)}" is no group`, field, hint: 'give a name or a number' };
  });
}

function seccompFlaw(rule: SeccompRule, field: string): Flaw | undefined {
  if (rule.kind !== 'profile') return undefined;
  const profile = parseSeccompProfile(rule.json);
  return 'flaw' in profile
    ? {
        message: `the seccomp profile ${profile.flaw}`,
        field,
        hint: 'give JSON in the form of Docker’s or OCI’s profiles',
      }
    : undefined;
}

function labelFlaw(label: string, field: string): Flaw | undefined {
  if (/^[\x21-\x7e]*$/.test(label) && label.length <= 255) return undefined;
  return {
    message: `label "${printable(label)}" is no name`,
    field,
    hint: 'use at most 255 printable characters without blanks',
  };
}

/** What would say two things at once. */
function privilegedFlaw(rules: ProcessRules, at: string): Flaw | undefined {
  const other =
    rules.capDrop.length > 0
      ? 'capDrop'
      : rules.seccomp.kind === 'profile'
        ? 'seccomp'
        : rules.appArmorProfile !== ''
          ? 'appArmorProfile'
          : undefined;
  if (other === undefined) return undefined;
  return {
    message: `a privileged container cannot have ${other} too`,
    field: `${at}.privileged`,
    hint: `leave out --privileged and give what is needed by --cap-add, or leave out ${other}`,
  };
}

function printable(text: string): string {
  const clean = text.replace(/\p{Cc}/gu, '?');
  return clean.length > 80 ? `${clean.slice(0, 77)}...` : clean;
}
