import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PublishedPort } from '../../../agent/network/network.ts';
import type { TaskId } from '../../../common/model/ids.ts';
import { CLIENT, type Host, POOL, ROUTER, Segment, type Talker } from './segment.ts';

interface Task {
  readonly id: TaskId;
  readonly host: Host;
  readonly address: string;
  readonly container: Talker;
}

const PORT = 8080;
const NOBODY = 8081;
const HOST_PORT = 9000;

let segment: Segment;
let tasks: readonly Task[];

/** Three tasks: two on the first host, one on the second, none on the third. */
beforeAll(async () => {
  segment = new Segment(3);
  await Promise.all(segment.hosts.map((host) => host.up()));
  await Promise.all(segment.hosts.map((host) => host.call('start', host.state(segment.hosts))));
  const [h1, h2] = segment.hosts;
  if (h1 === undefined || h2 === undefined) throw new Error('no hosts');
  tasks = [await place('t1', h1, '10.88.1.2'), await place('t2', h1, '10.88.1.3'), await place('t3', h2, '10.88.2.2')];
  await publish(everything());
}, 60_000);

afterAll(async () => {
  await segment?.close();
});

async function place(name: string, host: Host, address: string): Promise<Task> {
  const container = await segment.container(name, 80);
  const id = `${name}aaaaaaaaaaaaaaaaaaaaaaa` as TaskId;
  const hostPorts = name === 't3' ? [{ protocol: 'tcp' as const, published: HOST_PORT, target: 80 }] : [];
  await host.call('attach', { taskId: id, address, hostPorts }, container.process.pid ?? 0);
  return { id, host, address, container };
}

function everything(served: readonly Task[] = tasks): readonly PublishedPort[] {
  const backends = served.map((task) => ({ taskId: task.id, address: task.address, target: 80 }));
  return [
    { protocol: 'tcp', published: PORT, backends },
    { protocol: 'udp', published: PORT, backends },
    { protocol: 'tcp', published: NOBODY, backends: [] },
    { protocol: 'udp', published: NOBODY, backends: [] },
  ];
}

async function publish(ports: readonly PublishedPort[]): Promise<void> {
  await Promise.all(segment.hosts.map((host) => host.call('applyPorts', ports)));
}

function task(index: number): Task {
  const found = tasks[index];
  if (found === undefined) throw new Error(`no task ${index}`);
  return found;
}

/** Every task answered and saw `address`. */
function answeredByAll(lines: readonly string[], address: string): void {
  expect([...new Set(lines)].sort()).toEqual(['t1', 't2', 't3'].map((name) => `${name} ${address}`));
}

describe('between containers', () => {
  it('a container reaches one on its own host and one on another by address', () => {
    expect(segment.askFrom(task(0).container, task(1).address, 80)).toEqual([`t2 ${task(0).address}`]);
    expect(segment.askFrom(task(0).container, task(2).address, 80)).toEqual([`t3 ${task(0).address}`]);
    expect(segment.askFrom(task(2).container, task(0).address, 80)).toEqual([`t1 ${task(2).address}`]);
  });

  it('an address of the pool that nobody holds is unreachable, not sent to the outside', () => {
    expect(segment.askFrom(task(0).container, '10.88.2.99', 80)).toEqual(['unreachable']);
    expect(segment.askFrom(task(0).container, '10.88.77.1', 80)).toEqual(['unreachable']);
  });

  it('packets with a source that is not the container own are dropped', async () => {
    const listener = segment.talk('rt', 'serve', 'router', '4000');
    expect(await listener.line()).toBe('ready');
    const before = segment.inside('rt', 'cat', '/proc/net/snmp');
    segment.within(task(0).container, 'spoof', '10.88.2.2', ROUTER, '4000');
    segment.within(task(0).container, 'spoof', '10.77.0.1', ROUTER, '4000');
    const received = (text: string): string | undefined => /^Udp: \d+.*$/m.exec(text)?.[0].split(' ')[1];
    expect(received(segment.inside('rt', 'cat', '/proc/net/snmp'))).toBe(received(before));
    expect(segment.askFrom(task(0).container, ROUTER, 4000, 1, 'udp')).toEqual(['router 10.77.0.1']);
    await listener.end();
  });

  it('the outside sees the host, not the container', async () => {
    const listener = segment.talk('cl', 'serve', 'outside', '4001');
    expect(await listener.line()).toBe('ready');
    expect(segment.askFrom(task(0).container, CLIENT, 4001)).toEqual(['outside 10.77.0.1']);
    expect(segment.askFrom(task(2).container, CLIENT, 4001)).toEqual(['outside 10.77.0.2']);
    await listener.end();
  });

  it('the host reaches its own containers and those of others', () => {
    expect(segment.ask('h1', task(0).address, 80)).toEqual(['t1 10.77.0.1']);
    expect(segment.ask('h1', task(2).address, 80)).toEqual(['t3 10.77.0.1']);
  });
});

describe('a port published on every host', () => {
  it.each(['h1', 'h2', 'h3'])('is answered on %s by every task, each seeing the client behind a router', (name) => {
    const address = `10.77.0.${name.slice(1)}`;
    answeredByAll(segment.ask('cl', address, PORT, 12), CLIENT);
    answeredByAll(segment.ask('cl', address, PORT, 12, 'udp'), CLIENT);
  });

  it.each(['h1', 'h2', 'h3'])('is answered on %s by every task, each seeing a client on the segment', (name) => {
    answeredByAll(segment.ask('rt', `10.77.0.${name.slice(1)}`, PORT, 12), ROUTER);
  });

  it.each(['h1', 'h2', 'h3'])('is answered to %s itself by every host address and by 127.0.0.1', (name) => {
    const own = `10.77.0.${name.slice(1)}`;
    for (const address of ['10.77.0.1', '10.77.0.2', '10.77.0.3', '127.0.0.1']) {
      answeredByAll(segment.ask(name, address, PORT, 9), own);
    }
    answeredByAll(segment.ask(name, '127.0.0.1', PORT, 9, 'udp'), own);
  });

  it('is answered to a container by every host address, itself included', () => {
    for (const address of ['10.77.0.1', '10.77.0.2', '10.77.0.3']) {
      const lines = segment.askFrom(task(0).container, address, PORT, 12);
      // Reaching itself, a task sees its host: its own address as a source would be taken for spoofed.
      expect([...new Set(lines)].sort()).toEqual(['t1 10.77.0.1', 't2 10.88.1.2', 't3 10.88.1.2']);
    }
  });

  it('refuses connections at once when no task is ready', () => {
    for (const place of ['cl', 'rt', 'h1', 'h3']) {
      expect(segment.ask(place, '10.77.0.1', NOBODY)).toEqual(['refused']);
      // The host's own datagram does not even leave the socket.
      const refusal = place.startsWith('h') ? 'Operation not permitted' : 'refused';
      expect(segment.ask(place, '10.77.0.1', NOBODY, 1, 'udp')).toEqual([refusal]);
    }
    expect(segment.askFrom(task(0).container, '10.77.0.2', NOBODY)).toEqual(['refused']);
    expect(segment.ask('h2', '127.0.0.1', NOBODY)).toEqual(['refused']);
  });

  it('does not let neighbours reach what listens on the loopback address', async () => {
    const listener = segment.talk('h1', 'serve', 'loopback', '4002');
    expect(await listener.line()).toBe('ready');
    segment.inside('rt', 'ip', 'route', 'add', '127.0.0.9/32', 'via', '10.77.0.1');
    segment.inside('rt', 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1');
    segment.inside(
      'rt',
      'ip',
      'route',
      'add',
      'table',
      'local',
      'unicast',
      '127.0.0.9/32',
      'via',
      '10.77.0.1',
      'dev',
      'eth0',
    );
    expect(segment.ask('rt', '127.0.0.9', 4002)).not.toEqual([`loopback ${ROUTER}`]);
    await listener.end();
  });
});

describe('a port published in host mode', () => {
  it('is answered on its own host only', () => {
    expect(segment.ask('cl', '10.77.0.2', HOST_PORT)).toEqual([`t3 ${CLIENT}`]);
    expect(segment.ask('cl', '10.77.0.1', HOST_PORT)).toEqual(['refused']);
    expect(segment.ask('h2', '127.0.0.1', HOST_PORT)).toEqual(['t3 10.77.0.2']);
    expect(segment.ask('h1', '10.77.0.2', HOST_PORT)).toEqual(['t3 10.77.0.1']);
    expect(segment.askFrom(task(0).container, '10.77.0.2', HOST_PORT)).toEqual([`t3 ${task(0).address}`]);
    expect(segment.askFrom(task(2).container, '10.77.0.2', HOST_PORT)).toEqual(['t3 10.77.0.2']);
  });
});

describe('a change of the tasks', () => {
  it('loses no connection, however often it comes', async () => {
    const calls = segment.talk('cl', 'ask', '10.77.0.3', `${PORT}`, '1500');
    const answers: string[] = [];
    const reading = (async () => {
      for (let line = await calls.line(); line !== 'ended'; line = await calls.line()) answers.push(line);
    })();
    const subsets = [tasks.slice(0, 1), tasks.slice(1), tasks];
    for (let round = 0; answers.length < 1_500 && round < 10_000; round++)
      await publish(everything(subsets[round % 3]));
    await reading;
    await publish(everything());
    expect(answers).toHaveLength(1_500);
    expect(answers.filter((line) => !/^t[123] /.test(line))).toEqual([]);
  });
});

describe('a task that leaves', () => {
  it('keeps its open connections while new ones go elsewhere, and is done when they are closed', async () => {
    const held = await Promise.all(
      ['10.77.0.3', '10.77.0.3', '10.77.0.3'].map(async (address) => {
        const talker = segment.talk('cl', 'hold', address, `${PORT}`);
        return { talker, greeting: await talker.line() };
      }),
    );
    const leaving = task(2);
    const mine = held.filter(({ greeting }) => greeting.startsWith('t3 '));
    expect(mine).toHaveLength(1);
    expect(await leaving.host.call('openConnections', leaving.address)).toBe(1);
    await publish(everything([task(0), task(1)]));
    await leaving.host.call('withdraw', leaving.id);
    expect(segment.ask('cl', '10.77.0.3', PORT, 12).filter((line) => line.startsWith('t3'))).toEqual([]);
    expect(segment.ask('cl', '10.77.0.2', HOST_PORT)).toEqual(['refused']);
    for (const { talker } of held) expect(await talker.say('still there')).toBe('still there');
    expect(await leaving.host.call('openConnections', leaving.address)).toBe(1);
    for (const { talker } of held) {
      talker.process.stdin?.end();
      await talker.end();
    }
    await expect.poll(() => leaving.host.call('openConnections', leaving.address), { timeout: 5_000 }).toBe(0);
    await publish(everything());
  });

  it('is in nobody own map after it was withdrawn, though the cluster still lists it', () => {
    expect(segment.ask('h2', '10.77.0.2', PORT, 9).filter((line) => line.startsWith('t3'))).toEqual([]);
    expect(segment.ask('h1', '10.77.0.1', PORT, 9).filter((line) => line.startsWith('t3'))).not.toEqual([]);
  });
});

describe('an agent', () => {
  it('that is killed and comes back cuts no connection and misses no request', async () => {
    const h1 = task(0).host;
    const held = segment.talk('cl', 'hold', h1.address, `${PORT}`);
    expect(await held.line()).toMatch(CLIENT);
    await h1.kill();
    expect(await held.say('without agent')).toBe('without agent');
    expect(segment.ask('cl', h1.address, PORT, 3)).toHaveLength(3);
    await h1.up();
    const attached = [task(0), task(1)].map(({ id, address }) => ({ taskId: id, address, hostPorts: [] }));
    await h1.call('start', h1.state(segment.hosts, { ports: everything(), attached }));
    expect(await held.say('with agent')).toBe('with agent');
    expect(await h1.call('audit')).toEqual([]);
    await held.end();
  });

  it('repairs what others have broken', async () => {
    const h1 = task(0).host;
    h1.exec('ip', 'route', 'del', '10.88.2.0/24');
    h1.exec('sysctl', '-qw', 'net.ipv4.ip_forward=0');
    h1.exec('nft', 'flush', 'ruleset');
    h1.exec('ip', 'rule', 'flush');
    h1.exec('ip', 'rule', 'add', 'priority', '32766', 'lookup', 'main');
    const repaired = await h1.call('audit');
    expect(repaired.join('\n')).toMatch(/ip_forward was 0.*10\.88\.2\.0\/24.*rule.*nftables/s);
    expect(await h1.call('audit')).toEqual([]);
    answeredByAll(segment.ask('cl', h1.address, PORT, 12), CLIENT);
  });

  it('says which rules of others drop what it forwards', async () => {
    const h3 = segment.hosts[2];
    if (h3 === undefined) throw new Error('no host');
    expect(await h3.call('unfit')).toBe('');
    h3.exec(
      'nft',
      'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }',
    );
    const reason = await h3.call('unfit');
    expect(reason).toContain('chain "ip filter FORWARD" drops forwarded packets');
    h3.exec(
      'nft',
      `insert rule ip filter FORWARD ip saddr ${POOL} accept; insert rule ip filter FORWARD ip daddr ${POOL} accept`,
    );
    expect(await h3.call('unfit')).toBe('');
  });

  it('leaves the host as it found it', async () => {
    const h3 = segment.hosts[2];
    if (h3 === undefined) throw new Error('no host');
    await h3.call('clean');
    expect(h3.exec('nft', 'list', 'tables')).not.toContain('covey');
    expect(h3.exec('ip', 'route')).not.toContain('10.88');
    expect(h3.exec('ip', 'rule', 'list')).not.toContain('10.88');
    expect(h3.exec('ip', '-brief', 'link')).not.toContain('cv');
    for (const [name, value] of [
      ['ip_forward', '0'],
      ['conf.all.route_localnet', '0'],
      ['conf.eth0.send_redirects', '1'],
    ]) {
      expect(h3.exec('sysctl', '-n', `net.ipv4.${name}`)).toBe(value);
    }
  });
});
