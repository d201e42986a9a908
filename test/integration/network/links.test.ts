import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Attachment } from '../../../agent/network/network.ts';
import { linkName } from '../../../agent/network/owned.ts';
import type { NodeId, TaskId } from '../../../common/model/ids.ts';
import { CLIENT, type Host, Segment, type Talker } from './segment.ts';

const ADDRESS = '10.88.1.2';
const PORT = 8080;

let segment: Segment;
let host: Host;
let other: Host;

beforeAll(async () => {
  segment = new Segment(2);
  const [h1, h2] = segment.hosts;
  if (h1 === undefined || h2 === undefined) throw new Error('no hosts');
  [host, other] = [h1, h2];
  for (const one of segment.hosts) {
    await one.up();
    await one.call('start', one.state(segment.hosts));
  }
}, 60_000);

afterAll(async () => {
  await segment?.close();
});

function attachment(name: string, address = ADDRESS): Attachment {
  return { taskId: name.padEnd(25, 'x') as TaskId, address, hostPorts: [] };
}

async function attached(name: string, address = ADDRESS): Promise<Talker> {
  const container = await segment.container(name, 80);
  await host.call('attach', attachment(name, address), container.process.pid ?? 0);
  return container;
}

/** The kernel takes it away some time after the container's namespace. */
async function untilNoLink(taskId: TaskId): Promise<void> {
  await expect.poll(() => host.exec('ip', '-brief', 'link'), { timeout: 20_000 }).not.toContain(linkName(taskId));
}

describe('the link of a container', () => {
  it('carries its address, a default route, the uplink MTU and no IPv6', async () => {
    segment.inside('h1', 'ip', 'link', 'set', 'eth0', 'mtu', '1400');
    await host.call('start', host.state(segment.hosts));
    const container = await attached('first');
    const inside = (...words: readonly string[]): string =>
      segment.enter(container, 'ip', ...words).replaceAll(/\s+/g, ' ');
    expect(inside('-brief', 'address', 'show', 'eth0')).toMatch(/eth0@if\d+ UP 10\.88\.1\.2\/32 ?$/);
    expect(inside('-brief', 'link', 'show', 'lo')).toContain('UP');
    expect(inside('link', 'show', 'eth0')).toContain('mtu 1400');
    expect(inside('route')).toBe('default via 169.254.1.1 dev eth0 onlink 169.254.1.1 dev eth0 scope link');
    await container.end();
    await host.call('detach', attachment('first').taskId);
  });

  it('goes with the container, and a task may be attached anew for its next run', async () => {
    const first = await attached('runs');
    expect(segment.ask('h2', ADDRESS, 80)).toEqual(['runs 10.77.0.2']);
    await first.end();
    const second = await attached('runs');
    expect(segment.ask('h2', ADDRESS, 80)).toEqual(['runs 10.77.0.2']);
    await second.end();
    await host.call('detach', attachment('runs').taskId);
    expect(host.exec('ip', 'route')).not.toContain(ADDRESS);
    await untilNoLink(attachment('runs').taskId);
  });

  it('that belongs to nobody is removed by the second audit', async () => {
    const container = await attached('stray');
    const { taskId } = attachment('stray');
    await host.call('detach', taskId);
    expect(await host.call('audit')).toEqual([]);
    expect(await host.call('audit')).toEqual([`link ${linkName(taskId)} belonged to nobody`]);
    expect(await host.call('audit')).toEqual([]);
    await container.end();
  });

  it('is kept when the agent restarts and is told of the container', async () => {
    const container = await attached('kept');
    await host.kill();
    await host.up();
    await host.call('start', host.state(segment.hosts, { attached: [attachment('kept')] }));
    expect(await host.call('audit')).toEqual([]);
    expect(segment.ask('h2', ADDRESS, 80)).toEqual(['kept 10.77.0.2']);
    await container.end();
    await host.call('detach', attachment('kept').taskId);
  });

  it('is made beside others, while peers change, and each has its route and passes traffic', async () => {
    const all = ['one', 'two', 'three', 'four', 'five'].map((name, i) => attachment(name, `10.88.1.${10 + i}`));
    const containers = await Promise.all(all.map(({ taskId }) => segment.container(taskId, 80)));
    const { peers } = host.state(segment.hosts);
    await Promise.all([
      ...all.map((each, i) => host.call('attach', each, containers[i]?.process.pid ?? 0)),
      ...[peers, [], peers, [], peers].map((some) => host.call('applyPeers', some)),
      host.call('audit'),
    ]);
    for (const { taskId, address } of all) {
      expect(host.exec('ip', 'route', 'show', address)).toContain(`dev ${linkName(taskId)} `);
      expect(segment.ask('h2', address, 80)).toEqual([`${taskId} 10.77.0.2`]);
    }
    expect(await host.call('audit')).toEqual([]);
    for (const container of containers) await container.end();
    for (const { taskId } of all) await host.call('detach', taskId);
    for (const { taskId } of all) await untilNoLink(taskId);
  });

  it('is not left behind when its task is detached while it is made', async () => {
    const container = await segment.container('hasty', 80);
    const { taskId } = attachment('hasty');
    const attach = host.call('attach', attachment('hasty'), container.process.pid ?? 0);
    await Promise.all([attach, host.call('detach', taskId)]);
    expect(host.exec('ip', 'route')).not.toContain(ADDRESS);
    await container.end();
    await untilNoLink(taskId);
  });

  it('is refused with the reason when the namespace is gone, and nothing is left', async () => {
    const before = host.exec('ip', '-brief', 'link');
    await expect(host.call('attach', attachment('nobody'), 4_000_000)).rejects.toThrow(
      /no such file.*\/proc\/4000000\/ns\/net/i,
    );
    expect(host.exec('ip', '-brief', 'link')).toBe(before);
    await expect(host.call('attach', attachment('outside', '10.88.2.9'), 1)).rejects.toThrow(
      /not in this host's block/,
    );
  });
});

describe('an address that gets a new holder', () => {
  it('brings it no connection of the earlier one', async () => {
    const first = await attached('before');
    await other.call('applyPorts', [
      {
        protocol: 'tcp',
        published: PORT,
        backends: [{ taskId: attachment('before').taskId, address: ADDRESS, target: 80 }],
      },
    ]);
    const held = segment.talk('cl', 'hold', '10.77.0.2', `${PORT}`);
    expect(await held.line()).toBe(`before ${CLIENT}`);
    expect(await host.call('openConnections', ADDRESS)).toBe(1);
    await first.end();
    await host.call('detach', attachment('before').taskId);
    expect(await host.call('openConnections', ADDRESS)).toBe(0);
    const second = await attached('after');
    // The new holder knows nothing of it and resets it.
    expect(await held.say('anybody there?')).not.toBe('anybody there?');
    expect(segment.ask('cl', '10.77.0.2', PORT)).toEqual([`after ${CLIENT}`]);
    await second.end();
    await host.call('detach', attachment('after').taskId);
  });
});

describe('a client that speaks UDP without pause', () => {
  it('is served by another task when its own has left', async () => {
    const [one, two] = [await attached('one'), await attached('two', '10.88.1.3')];
    const backends = [
      { taskId: attachment('one').taskId, address: ADDRESS, target: 80 },
      { taskId: attachment('two').taskId, address: '10.88.1.3', target: 80 },
    ];
    await other.call('applyPorts', [{ protocol: 'udp', published: PORT, backends }]);
    const talker = segment.talk('cl', 'hold', '10.77.0.2', `${PORT}`, 'udp');
    const [served = ''] = (await talker.line()).split(' ');
    expect(await talker.say('again')).toBe(`${served} ${CLIENT}`);
    const left = backends.filter((backend) => !backend.taskId.startsWith(served));
    await other.call('applyPorts', [{ protocol: 'udp', published: PORT, backends: left }]);
    expect(await talker.say('again')).toBe(`${served === 'one' ? 'two' : 'one'} ${CLIENT}`);
    for (const each of [talker, one, two]) await each.end();
    for (const name of ['one', 'two']) await host.call('detach', attachment(name).taskId);
  });
});

describe('peers', () => {
  it('on another segment, or with a text that is no address, do not make this host unfit', async () => {
    const far = { nodeId: 'far' as NodeId, address: '10.99.0.7', mac: '02:00:00:00:00:07', block: '10.88.7.0/24' };
    const evil = { ...far, nodeId: 'evil' as NodeId, mac: '02:00:00:00:00:08 : 1 }\nflush ruleset\n' };
    await host.call('applyPeers', [other.peer, far, evil]);
    expect(await host.call('unfit')).toBe('');
    expect(await host.call('audit')).toEqual([]);
    expect(host.exec('ip', 'route', 'get', other.block.replace('.0/24', '.2'))).toContain('via 10.77.0.2');
  });

  it('of which none can be reached make it unfit, with the reason', async () => {
    const far = { nodeId: 'far' as NodeId, address: '10.99.0.7', mac: '02:00:00:00:00:07', block: '10.88.7.0/24' };
    await host.call('applyPeers', [far]);
    expect(await host.call('unfit')).toMatch(
      /node far at 10\.99\.0\.7 cannot be routed to through eth0: Nexthop has invalid gateway; next: /,
    );
    await host.call('applyPeers', [other.peer]);
    expect(await host.call('unfit')).toBe('');
  });

  it('are routed to again after the uplink was down', async () => {
    host.exec('ip', 'link', 'set', 'eth0', 'down');
    expect((await host.call('audit')).join('\n')).not.toContain('route');
    expect(await host.call('unfit')).toMatch(/^node node2 at 10\.77\.0\.2 cannot be routed to/);
    host.exec('ip', 'link', 'set', 'eth0', 'up');
    expect((await host.call('audit')).join('\n')).toMatch(/route 10\.88\.2\.0\/24 via 10\.77\.0\.2 .* was missing/);
    expect(await host.call('unfit')).toBe('');
  });
});

describe('a host', () => {
  it('that advertises an address it does not have says which ones it has', async () => {
    const state = host.state(segment.hosts);
    const wrong = { ...state, host: { ...state.host, address: '10.77.0.99' } };
    await expect(host.call('start', wrong)).rejects.toThrow('no interface of this host has the address 10.77.0.99');
  });
});
