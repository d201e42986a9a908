/** The names and numbers by which everything of ours in a host's network is known again. */
import type { TaskId } from '../../common/model/ids.ts';

/** RTA_PROTOCOL and FRA_PROTOCOL of our routes and rules: not in iproute2's rt_protos, so nobody else's. */
export const ROUTE_PROTOCOL = 77;
/** Priority of all our policy rules: after `local` (0), before `main` (32766). */
export const RULE_PRIORITY = 7_700;
/** The kernel's main routing table. */
export const MAIN_TABLE = 254;
/**
 * Marks of ours are MARK_BASE + 1 … MARK_BASE + MARKS_MAX, each also the number of a routing table. The high half tells
 * them from other people's marks.
 */
export const MARK_BASE = 0x0c0e0000;
export const MARK_MASK = 0xffff0000;
export const MARKS_MAX = 0xfffe;
/** On packets of a task that reaches itself, from the forward hook to the postrouting hook of the same host. */
export const HAIRPIN_MARK = 0x0c0effff;
/** What containers know as their gateway: a permanent neighbour entry, no address of anybody. Source: RFC 3927. */
export const GATEWAY = '169.254.1.1';
/** MAC of the host's end of every veth; each is a segment of its own, so one will do. */
export const GATEWAY_MAC = '02:c0:7e:00:00:01';
/** Prefix of the host's ends; rules match it as `cv*`. */
export const LINK_PREFIX = 'cv';
/** nft table, family ip. */
export const TABLE = 'covey';

/** Name of the host's end of a task's veth: 13 of the 15 characters a link name may have. */
export function linkName(taskId: TaskId): string {
  return LINK_PREFIX + taskId.slice(0, 11);
}

/** MAC of the container's end, locally administered, made from its address. */
export function containerMac(address: string): string {
  const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return `02:42:${bytes.join(':')}`;
}
