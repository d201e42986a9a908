/** `covey cluster …`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { ClusterError } from '../../common/errors.ts';
import { formatAge, formatBytes } from '../../common/units.ts';
import { PACKAGE_ROOT } from '../../common/version.ts';
import type { covey } from '../../proto/messages.ts';
import { brief, contextPath, withCluster } from '../client.ts';
import { EXIT } from '../exit.ts';

/** Flags of init that go on to covey-manager as they are. */
const INIT_FLAGS = [
  ['advertise', '<host:port>', 'address by which agents and clients reach this manager'],
  ['listen', '<host:port>', 'address to listen on'],
  ['state-dir', '<dir>', "the manager's state"],
  ['run-dir', '<dir>', "the manager's sockets"],
  ['config', '<file>', "the manager's config file"],
  ['default-addr-pool', '<cidr>', 'pool of container addresses'],
  ['default-addr-pool-mask-length', '<bits>', "size of a node's block"],
  ['cert-expiry', '<duration>', "life of a node's certificate"],
  ['failover-after', '<duration>', 'silence after which tasks move'],
  ['task-history-limit', '<n>', 'finished tasks kept a slot'],
] as const;

/** Adds `cluster` and its commands. */
export function addClusterCommands(program: Command): void {
  const cluster = program.command('cluster').description('Make a cluster and look after it');
  const init = cluster.command('init').description('Make a cluster on this host: run as root on the first manager');
  for (const [name, argument, help] of INIT_FLAGS) init.option(`--${name} ${argument}`, help);
  init.action(initCluster);
  cluster
    .command('info')
    .description('Leader, etcd, certificates and versions')
    .option('--format <format>', 'json')
    .action(showInfo);
  cluster
    .command('token')
    .description('Show the token with which agents join')
    .option('--rotate', 'make a new one; the old one is void at once')
    .option('-q, --quiet', 'the token only')
    .action(showToken);
}

/** Runs `covey-manager init` of this installation, then starts the service where systemd has it. */
async function initCluster(flags: Readonly<Record<string, string>>): Promise<void> {
  const manager = join(PACKAGE_ROOT, 'dist', 'manager', 'main.js');
  if (!existsSync(manager))
    throw new ClusterError('not_found', `there is no covey-manager beside this program (${manager})`);
  const args = INIT_FLAGS.flatMap(([name]) => {
    const value = flags[name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
    return value === undefined ? [] : [`--${name}`, value];
  });
  const code = await run(process.execPath, [manager, 'init', ...args, '--context', contextPath()]);
  if (code !== 0) {
    process.exitCode = code === EXIT.usage ? EXIT.usage : EXIT.error;
    return;
  }
  const hasUnit = existsSync('/run/systemd/system') && existsSync('/etc/systemd/system/covey-manager.service');
  if (!hasUnit) process.stdout.write('\nStart the manager now: covey-manager run\n');
  else if ((await run('systemctl', ['enable', '--now', 'covey-manager.service'])) !== 0) process.exitCode = EXIT.error;
}

async function run(command: string, args: readonly string[]): Promise<number> {
  const [code] = (await once(spawn(command, args, { stdio: 'inherit' }), 'exit')) as [number | null];
  return code ?? EXIT.error;
}

async function showToken(flags: { rotate?: boolean; quiet?: boolean }): Promise<void> {
  const { token, info } = await withCluster(async (control) => {
    const given = await control.getJoinToken({ rotate: flags.rotate === true }, brief());
    return { token: given.token, info: flags.quiet === true ? undefined : await control.getCluster({}, brief()) };
  });
  if (info === undefined) process.stdout.write(`${token}\n`);
  else {
    const address = info.managers[0]?.manager?.address ?? 'MANAGER:2377';
    process.stdout.write(
      `To add a host to this cluster, run on it as root:\n\n    covey-agent join --token ${token} ${address}\n\n`,
    );
  }
}

async function showInfo(flags: { format?: string }): Promise<void> {
  const info = await withCluster((control) => control.getCluster({}, brief()));
  if (flags.format === 'json') process.stdout.write(`${JSON.stringify(infoObject(info))}\n`);
  else process.stdout.write(infoText(info));
  if (info.etcd?.healthy !== true || info.leaderAddress === '') process.exitCode = EXIT.error;
}

function infoObject(info: covey.v1.ClusterInfo): object {
  return {
    ID: info.id,
    CreatedAt: new Date(info.createdAt).toISOString(),
    Leader: info.leaderAddress,
    Epoch: { Incarnation: info.epoch?.incarnation ?? 0, Reign: info.epoch?.reign ?? 0 },
    Managers: info.managers.map((one) => ({
      ID: one.manager?.id,
      Address: one.manager?.address,
      Version: one.manager?.version,
      Leader: one.leader,
    })),
    Etcd: {
      Healthy: info.etcd?.healthy ?? false,
      Message: info.etcd?.message ?? '',
      SizeBytes: info.etcd?.sizeBytes ?? 0,
      QuotaBytes: info.etcd?.quotaBytes ?? 0,
      Version: info.etcd?.version ?? '',
      Embedded: info.etcd?.embedded ?? false,
    },
    CA: { Digest: info.caDigest, ExpiresAt: new Date(info.caExpiresAt).toISOString() },
    Certificates: info.certificates.map((one) => ({
      Name: one.name,
      Role: one.role,
      ExpiresAt: new Date(one.expiresAt).toISOString(),
    })),
    Logins: info.logins.map((one) => ({ Registry: one.registry, Username: one.username })),
    Nodes: info.nodes.map((one) => ({
      ID: one.node?.id,
      Hostname: one.status?.description?.hostname ?? '',
      State: one.status?.state ?? '',
      Version: one.status?.description?.version ?? '',
    })),
    FailoverAfterMs: info.failoverAfterMs,
    Revision: info.storeRevision,
  };
}

function infoText(info: covey.v1.ClusterInfo): string {
  const now = Date.now();
  const ends = (at: number) => (at > now ? `in ${formatAge(at - now).toLowerCase()}` : 'EXPIRED');
  const etcd = info.etcd;
  const lines = [
    `Cluster:      ${info.id}`,
    `Leader:       ${info.leaderAddress === '' ? 'none' : info.leaderAddress} (reign ${info.epoch?.incarnation ?? 0}.${info.epoch?.reign ?? 0})`,
    'Managers:',
    ...info.managers.map((one) => `  ${one.manager?.address} ${one.manager?.version}${one.leader ? ' leader' : ''}`),
    `etcd:         ${etcd?.healthy === true ? 'healthy' : `UNHEALTHY: ${etcd?.message ?? 'no answer'}`}, ${etcd?.embedded === true ? 'embedded' : 'outside'}, version ${etcd?.version ?? '?'}, ${formatBytes(etcd?.sizeBytes ?? 0)}${etcd?.quotaBytes ? ` of ${formatBytes(etcd.quotaBytes)}` : ''}`,
    `CA:           ${info.caDigest.slice(0, 16)}…, expires ${ends(info.caExpiresAt)}`,
    'Certificates:',
    ...info.certificates.map((one) => `  ${one.role} ${one.name} expires ${ends(one.expiresAt)}`),
    ...(info.logins.length === 0
      ? []
      : ['Logins:', ...info.logins.map((one) => `  ${one.registry} as ${one.username}`)]),
    'Nodes:',
    ...info.nodes.map(
      (one) =>
        `  ${one.status?.description?.hostname ?? one.node?.id} ${one.status?.description?.version ?? '?'} ${one.status?.state ?? 'never seen'}`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}
