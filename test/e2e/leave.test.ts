/** A host that leaves its cluster tells it, and keeps nothing of it. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readLayout } from '../../deploy/dev/door.ts';
import { agentFlags } from '../../deploy/dev/supervisor.ts';
import { DevCluster, rows, type Said, say } from '../support/dev-cluster.ts';
import { until } from '../support/until.ts';

let cluster: DevCluster;

beforeAll(async () => {
  cluster = await DevCluster.up();
  const flags = ['--replicas', '3', '-p', '8080:80', '--quiet', '--restart-delay', '0s'];
  await cluster.must('service', 'create', '--name', 'web', ...flags, 'web:1');
});
afterAll(() => cluster?.clean());

/** `covey-agent leave` in that host's network namespace; its agent must have ended. */
function leave(name: string, ...more: readonly string[]): Promise<Said> {
  const layout = readLayout(cluster.dir);
  const host = layout.hosts.find((each) => each.name === name);
  if (host === undefined) throw new Error(`no host ${name}`);
  const own = ['dist/agent/main.js', 'leave', ...agentFlags(layout, host), ...more];
  return say('nsenter', [`--net=/run/netns/${host.netns}`, '--', process.execPath, ...own]);
}

it('moves its tasks at once and leaves neither containers nor network nor identity', async () => {
  const stateDir = (await cluster.status()).hosts.find((host) => host.name === 'n3')?.stateDir ?? '';
  await cluster.door('fail', 'n3', 'agent');
  const memory = JSON.parse(readFileSync(`${stateDir}/network.json`, 'utf8')) as { sysctls: Record<string, string> };
  const said = await leave('n3');
  expect(said).toMatchObject({ code: 0, out: expect.stringContaining('has left the cluster') });
  // Far below failoverAfter (15 s): nobody waits for a node that has said goodbye.
  await until('three tasks run on the others', 8_000, async () => {
    const running = await cluster.running('web');
    return running.length === 3 && running.every((task) => task.Node !== 'n3') ? running : undefined;
  });
  const nodes = rows<{ readonly Hostname: string; readonly Status: string }>(
    await cluster.must('node', 'ls', '--format', 'json'),
  );
  expect(nodes.find((node) => node.Hostname === 'n3')?.Status).toBe('Down');
  expect(existsSync(`${stateDir}/identity.json`)).toBe(false);
  expect(Object.keys(memory.sysctls)).not.toEqual([]);
  for (const [name, value] of Object.entries(memory.sysctls)) {
    expect((await cluster.door('exec', 'n3', '--', 'cat', `/proc/sys/${name}`)).trim()).toBe(value);
  }
  expect(await cluster.door('exec', 'n3', '--', 'nft', 'list', 'tables')).not.toContain('covey');
  expect(await cluster.door('exec', 'n3', '--', 'ip', 'route', 'show', 'proto', '77')).toBe('');
  expect(await cluster.door('exec', 'n3', '--', 'ip', 'rule')).not.toContain('7700');
  expect(await cluster.door('exec', 'n3', '--', 'ip', '-o', 'link')).not.toMatch(/: cv/);
});

it('stays when no manager can be told, unless it is forced', async () => {
  await cluster.door('fail', 'n2', 'agent');
  await cluster.door('fail', 'n2', 'link');
  const stateDir = (await cluster.status()).hosts.find((host) => host.name === 'n2')?.stateDir ?? '';
  const volume = `${stateDir}/volumes/kept`;
  mkdirSync(volume);
  const kept = await leave('n2');
  expect(kept).toMatchObject({ code: 1, err: expect.stringContaining('volumes of containers are on this host') });
  rmSync(volume, { recursive: true });
  const refused = await leave('n2');
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('no manager could be told') });
  expect(existsSync(`${stateDir}/identity.json`)).toBe(true);
  expect(await leave('n2', '--force')).toMatchObject({ code: 0 });
  expect(existsSync(`${stateDir}/identity.json`)).toBe(false);
});
