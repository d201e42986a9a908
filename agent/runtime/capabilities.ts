/** The capabilities of a container from what its template adds and drops. Pure. Source: capabilities(7); moby, oci/caps. */
import { ClusterError } from '../../common/errors.ts';
import { CAPABILITIES, type ProcessRules } from '../../common/model/process-rules.ts';

/** What Docker gives every container, in its order. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
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
];

export type CapabilitySets = Readonly<
  Record<'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient', readonly string[]>
>;

/** The bounding set: `ALL` adds or drops everything, names go on top of that. */
export function boundingSet(rules: ProcessRules): readonly string[] {
  if (rules.privileged) return CAPABILITIES;
  const added = rules.capAdd.includes('ALL') ? CAPABILITIES : rules.capAdd;
  const base = rules.capDrop.includes('ALL') ? [] : DEFAULT_CAPABILITIES;
  // What is dropped by name is dropped even from ALL; what is added by name stays even when ALL is dropped.
  const set = new Set([...base, ...added]);
  for (const name of rules.capDrop) set.delete(name);
  return [...set];
}

/**
 * Root holds the bounding set. Another user holds what was added by name, and hands it on to what it runs: a program of
 * his could not gain it otherwise, and he asked for it. The rest of the set is what setuid programs could gain.
 */
export function capabilitySets(rules: ProcessRules, uid: number): CapabilitySets {
  const bounding = boundingSet(rules);
  if (uid === 0) return { bounding, effective: bounding, permitted: bounding, inheritable: [], ambient: [] };
  const held = rules.capAdd.filter((name) => bounding.includes(name));
  return { bounding, effective: held, permitted: held, inheritable: held, ambient: held };
}

/**
 * Refuses a capability that is asked for by name and cannot be given: without it the container would only seem to run.
 * @param own  what this host's agent holds itself
 * @throws ClusterError `invalid` naming the capability
 */
export function refuseUngrantable(rules: ProcessRules, own: readonly string[]): void {
  const missing = rules.capAdd.find((name) => name !== 'ALL' && !own.includes(name));
  if (missing === undefined) return;
  throw new ClusterError('invalid', `capability ${missing} cannot be given: this host's agent does not have it`, {
    field: 'container.process.capAdd',
    hint: 'leave it out, or place the service on another node',
  });
}
