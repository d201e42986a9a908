import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { forwardObstacle } from '../../../../agent/network/forward-policy.ts';
import { numberPeers } from '../../../../agent/network/marks.ts';
import { containerMac, linkName } from '../../../../agent/network/owned.ts';
import { difference, routesFor, routeText, rulesFor, ruleText } from '../../../../agent/network/paths.ts';
import { looserFilter } from '../../../../agent/network/sysctls.ts';
import type { NodeId, TaskId } from '../../../../common/model/ids.ts';

const HOST = { address: '10.77.0.1', pool: '10.88.0.0/16', block: '10.88.1.0/24' };
const ids = (...names: readonly string[]): readonly NodeId[] => names as readonly NodeId[];

describe('the numbers of peers', () => {
  it('stay with the host they were given to', () => {
    const first = numberPeers({}, ids('a', 'b'));
    expect(first).toEqual({ a: 1, b: 2 });
    expect(numberPeers(first, ids('c', 'b'))).toEqual({ a: 1, b: 2, c: 3 });
  });

  it('are never shared, and bounded however many hosts come and go', () => {
    const name = fc.integer({ min: 0, max: 12_000 }).map((number) => `n${number}` as NodeId);
    fc.assert(
      fc.property(fc.array(fc.uniqueArray(name, { maxLength: 8 }), { maxLength: 6 }), (steps) => {
        let numbers = numberPeers({}, []);
        for (const step of steps) {
          const before = numbers;
          numbers = numberPeers(numbers, step);
          const all = Object.values(numbers);
          expect(new Set(all).size).toBe(all.length);
          for (const id of step) expect(numbers[id]).toBe(before[id] ?? numbers[id]);
        }
      }),
    );
    const many = Array.from({ length: 5_000 }, (_, index) => `n${index}` as NodeId);
    const crowded = numberPeers(numberPeers({}, many.slice(0, 4_000)), many.slice(4_000));
    expect(Object.keys(crowded)).toHaveLength(4_096);
    expect(many.slice(4_000).every((id) => crowded[id] !== undefined)).toBe(true);
  });
});

describe('the paths of a host', () => {
  const peer = { nodeId: 'b' as NodeId, address: '10.77.0.2', mac: '02:00:00:00:00:02', block: '10.88.2.0/24' };
  const numbers = numberPeers({}, [peer.nodeId]);

  it('lead to each peer block, back to each ingress host, and nowhere else in the pool', () => {
    expect(routesFor(HOST, 'eth0', [peer], numbers).map(routeText)).toEqual([
      '10.88.0.0/16 unreachable table 254',
      '10.88.2.0/24 via 10.77.0.2 dev eth0 src 10.77.0.1 table 254',
      '0.0.0.0/0 via 10.77.0.2 dev eth0 table 202244097',
    ]);
    expect(rulesFor(HOST, [peer], numbers).map(ruleText)).toEqual([
      '7700: from 10.88.0.0/16 fwmark 202244097 lookup 202244097',
    ]);
  });

  it('differ by what is missing and what is surplus', () => {
    const wanted = routesFor(HOST, 'eth0', [peer], numbers);
    const moved = routesFor(HOST, 'eth0', [{ ...peer, address: '10.77.0.9' }], numbers);
    expect(difference(wanted, wanted, routeText)).toEqual({ missing: [], surplus: [] });
    const { missing, surplus } = difference(moved, wanted, routeText);
    expect(missing.map((route) => route.gateway)).toEqual(['10.77.0.9', '10.77.0.9']);
    expect(surplus.map((route) => route.gateway)).toEqual(['10.77.0.2', '10.77.0.2']);
  });
});

describe('the names of a link', () => {
  it('fit into fifteen characters and six bytes', () => {
    expect(linkName('abcdefghijklmnopqrstuvwxy' as TaskId)).toBe('cvabcdefghijk');
    expect(containerMac('10.88.1.254')).toBe('02:42:0a:58:01:fe');
  });
});

describe('the reverse-path filter', () => {
  it('is made loose where it is strict and left alone elsewhere', () => {
    expect(looserFilter('eth0', '1', '0')).toEqual({ 'net/ipv4/conf/eth0/rp_filter': '2' });
    expect(looserFilter('eth0', '0', '1')).toEqual({ 'net/ipv4/conf/eth0/rp_filter': '2' });
    expect(looserFilter('eth0', '0', '0')).toEqual({});
    expect(looserFilter('eth0', '2', '1')).toEqual({});
  });
});

describe('rules of others that drop forwarded packets', () => {
  const chain = { family: 'ip', table: 'filter', name: 'FORWARD', hook: 'forward', policy: 'drop' };
  const accept = (field: string): unknown => ({
    rule: {
      family: 'ip',
      table: 'filter',
      expr: [
        {
          match: {
            op: '==',
            left: { payload: { protocol: 'ip', field } },
            right: { prefix: { addr: '10.88.0.0', len: 16 } },
          },
        },
        { accept: null },
      ],
    },
  });
  const obstacle = (...items: readonly unknown[]): string =>
    forwardObstacle(JSON.stringify({ nftables: [{ metainfo: {} }, ...items] }), HOST.pool);

  it('are named with the next step', () => {
    expect(obstacle({ chain })).toContain('nft insert rule ip filter FORWARD ip saddr 10.88.0.0/16 accept');
  });

  it('are no obstacle when they let the pool pass in both directions', () => {
    expect(obstacle({ chain }, accept('saddr'), accept('daddr'))).toBe('');
    expect(obstacle({ chain }, accept('saddr'))).not.toBe('');
  });

  it('are not confused with our own, with other hooks and with other families', () => {
    expect(obstacle({ chain: { ...chain, policy: 'accept' } })).toBe('');
    expect(obstacle({ chain: { ...chain, hook: 'input' } })).toBe('');
    expect(obstacle({ chain: { ...chain, family: 'ip6' } })).toBe('');
    expect(obstacle({ chain: { ...chain, table: 'covey' } })).toBe('');
  });
});
