import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Balancer, change, contentsOf, layDown, type TableContents } from '../../../../agent/network/table.ts';
import type { TaskId } from '../../../../common/model/ids.ts';

const HOST = { address: '10.77.0.1', pool: '10.88.0.0/16', block: '10.88.1.0/24' };

function balancer(part: Partial<Balancer> = {}): Balancer {
  return { host: HOST, marks: new Map(), peerAddresses: [], ports: [], hostPorts: [], ...part };
}

function backend(name: string, address: string, target = 80): { taskId: TaskId; address: string; target: number } {
  return { taskId: name as TaskId, address, target };
}

function between(from: Partial<Balancer>, to: Partial<Balancer>): string {
  return change(contentsOf(balancer(from)), contentsOf(balancer(to)));
}

/** What the kernel would make of a script of changes. */
function applied(contents: TableContents, script: string): TableContents {
  const chains = new Map(contents.chains);
  const elements = new Map([...contents.elements].map(([name, map]) => [name, new Map(map)]));
  for (const line of script.split('\n').filter((text) => text !== '')) {
    const [verb, kind, , , name = '', ...rest] = line.split(' ');
    if (kind === 'chain' && verb === 'add') chains.set(name, '');
    else if (kind === 'chain' && verb === 'flush') {
      if (!chains.has(name)) throw new Error(`no chain ${name}`);
      chains.set(name, '');
    } else if (kind === 'chain' && verb === 'delete') {
      if ([...elements.values()].some((map) => [...map.values()].includes(`goto ${name}`)))
        throw new Error(`${name} is in use`);
      chains.delete(name);
    } else if (kind === 'rule') chains.set(name, rest.join(' '));
    else if (kind === 'element') {
      const map = elements.get(name) ?? new Map<string, string>();
      elements.set(name, map);
      for (const item of rest.slice(1, -1).join(' ').split(', ')) {
        const [key = '', value = ''] = item.split(' : ');
        if (verb === 'add') map.set(key, value);
        else if (!map.delete(key)) throw new Error(`no element ${key}`);
      }
    } else throw new Error(`unknown: ${line}`);
  }
  return { chains, elements };
}

function sorted(contents: TableContents): unknown {
  const inOrder = <T>(map: ReadonlyMap<string, T>): [string, T][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    chains: inOrder(contents.chains),
    elements: inOrder(contents.elements).map(([name, map]) => [name, inOrder(map)]),
  };
}

const someBackend = fc.record({
  taskId: fc.constantFrom('a', 'b', 'c', 'd').map((id) => id as TaskId),
  address: fc.constantFrom('10.88.1.2', '10.88.1.3', '10.88.2.2'),
  target: fc.constantFrom(80, 81),
});
const somePort = fc.record({
  protocol: fc.constantFrom('tcp' as const, 'udp' as const),
  published: fc.constantFrom(80, 443, 8080),
  backends: fc.uniqueArray(someBackend, { selector: (one) => one.taskId, maxLength: 4 }),
});
const someBalancer = fc
  .record({
    marks: fc.dictionary(fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02'), fc.integer({ min: 1, max: 3 })),
    peerAddresses: fc.uniqueArray(fc.constantFrom('10.77.0.2', '10.77.0.3', '10.77.0.4')),
    ports: fc.uniqueArray(somePort, { selector: (one) => `${one.protocol}/${one.published}`, maxLength: 5 }),
    hostPorts: fc.uniqueArray(
      fc.record({
        protocol: fc.constantFrom('tcp' as const, 'udp' as const),
        published: fc.constantFrom(9000, 9001),
        target: fc.constantFrom(80, 81),
        address: fc.constantFrom('10.88.1.2', '10.88.1.3'),
      }),
      { selector: (one) => `${one.protocol}/${one.published}`, maxLength: 3 },
    ),
  })
  .map((part) => balancer({ ...part, marks: new Map(Object.entries(part.marks)) }));

describe('the table of the load balancer', () => {
  it('is laid down whole in one transaction', () => {
    const contents = contentsOf(
      balancer({
        marks: new Map([['02:00:00:00:00:02', 0x0c0e0001]]),
        peerAddresses: ['10.77.0.2'],
        ports: [
          { protocol: 'tcp', published: 8080, backends: [backend('b', '10.88.2.2'), backend('a', '10.88.1.2')] },
          { protocol: 'udp', published: 53, backends: [] },
        ],
        hostPorts: [{ protocol: 'tcp', published: 9000, target: 90, address: '10.88.1.2' }],
      }),
    );
    expect(layDown(HOST, contents)).toMatchSnapshot();
  });

  it('changes the chain of the port that changed and nothing else', () => {
    const other = { protocol: 'tcp' as const, published: 443, backends: [backend('x', '10.88.1.9')] };
    const web = (...backends: ReturnType<typeof backend>[]): Balancer['ports'][number] => ({
      protocol: 'tcp',
      published: 80,
      backends,
    });
    const one = backend('a', '10.88.1.2');
    const two = backend('b', '10.88.2.2', 8000);
    expect(between({ ports: [other, web(one)] }, { ports: [web(two, one), other] })).toBe(
      'flush chain ip covey port_tcp_80\n' +
        'add rule ip covey port_tcp_80 meta l4proto tcp dnat ip to numgen inc mod 2 map { 0 : 10.88.1.2 . 80, 1 : 10.88.2.2 . 8000 }\n',
    );
    expect(between({ ports: [other, web(one)] }, { ports: [other, web()] })).toBe(
      'flush chain ip covey port_tcp_80\nadd rule ip covey port_tcp_80 meta l4proto tcp reject with tcp reset\n',
    );
  });

  it('makes a chain before and removes it after the map that leads to it', () => {
    const ports = [{ protocol: 'udp' as const, published: 53, backends: [backend('a', '10.88.1.2', 53)] }];
    expect(between({}, { ports })).toBe(
      'add chain ip covey port_udp_53\n' +
        'add rule ip covey port_udp_53 meta l4proto udp dnat ip to numgen inc mod 1 map { 0 : 10.88.1.2 . 53 }\n' +
        'add element ip covey ports { udp . 53 : goto port_udp_53 }\n',
    );
    expect(between({ ports }, {})).toBe(
      'delete element ip covey ports { udp . 53 : goto port_udp_53 }\n' +
        'flush chain ip covey port_udp_53\ndelete chain ip covey port_udp_53\n',
    );
  });

  it('does not change when only the order of what it is told does', () => {
    const backends = [backend('a', '10.88.1.2'), backend('b', '10.88.2.2')];
    const port = { protocol: 'tcp' as const, published: 80 };
    expect(between({ ports: [{ ...port, backends }] }, { ports: [{ ...port, backends: backends.toReversed() }] })).toBe(
      '',
    );
  });

  it('goes from any state to any other and back to where it was', () => {
    fc.assert(
      fc.property(someBalancer, someBalancer, (a, b) => {
        const [from, to] = [contentsOf(a), contentsOf(b)];
        const there = applied(from, change(from, to));
        expect(sorted(there)).toEqual(sorted(to));
        expect(sorted(applied(there, change(to, from)))).toEqual(sorted(from));
        expect(change(to, contentsOf(b))).toBe('');
      }),
    );
  });
});
